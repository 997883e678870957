"""The agent named "gemini": Gemini Live (BidiGenerateContent) over a WebSocket, 16 kHz in and 24 kHz out.

A connection lasts about ten minutes. Its successor resumes the session by a handle where nothing was said since the
vendor gave it, and else is given the history as text. The vendor detects turns, and says when one interrupts.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec
from pydantic import BaseModel, Field

from voice_gateway.agent.base import AudioFormat
from voice_gateway.agents.bridges.bridge.agent import BridgeAgent, BridgeSettings
from voice_gateway.agents.bridges.bridge.speech_likely import SpeechLikely
from voice_gateway.agents.bridges.bridge.vendor import (
    Answered,
    Answering,
    CallerStarted,
    CallerStopped,
    Ending,
    ItemAudio,
    ItemEnded,
    ItemText,
    Message,
    PartialWords,
    Ready,
    Said,
    Target,
    ToolRequested,
    ToVendor,
    Vendor,
    VendorEvent,
    VendorSession,
    Words,
    json_message,
)
from voice_gateway.agents.bridges.bridge.wording import GO_ON, SAY_EXACTLY

_NAME: Final = "Gemini Live"
_URL: Final = "wss://generativelanguage.googleapis.com"
_PATH: Final = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
_INPUT_HZ, _OUTPUT_HZ = 16_000, 24_000
_AUDIO: Final = "audio/pcm"


class GeminiSettings(BridgeSettings):
    """`model` is a Live model; `voice` and `language` (as `en-US`) are the vendor's names, empty for its choice.

    `silence_ms` without voice end a turn.
    """

    model: str = Field(min_length=1)
    voice: str = ""
    language: str = ""
    silence_ms: int = Field(default=500, ge=100, le=5_000)


class GeminiAgent(BridgeAgent):
    """Callers talk with a Gemini Live model. The key is in `GEMINI_API_KEY` or `api_key_file`."""

    settings_model: ClassVar[type[BaseModel] | None] = GeminiSettings

    def __init__(self, settings: GeminiSettings) -> None:
        super().__init__(Gemini(settings), settings)


class Gemini(Vendor):
    name = _NAME
    key_variable = "GEMINI_API_KEY"
    input_rate_hz = _INPUT_HZ
    output_rate_hz = _OUTPUT_HZ

    def __init__(self, settings: GeminiSettings) -> None:
        self._settings = settings

    def target(self, key: str) -> Target:
        base = (self._settings.base_url or _URL).rstrip("/")
        return Target(f"{base}{_PATH}", {"x-goog-api-key": key})

    def session(self, tools: Sequence[Mapping[str, Any]]) -> VendorSession:
        return GeminiSession(self._settings, tools)


class _Struct(msgspec.Struct, frozen=True, rename="camel"):
    """What of the vendor's messages is used; other keys are skipped."""


class _Blob(_Struct, frozen=True):
    data: str = ""
    mime_type: str = ""


class _Part(_Struct, frozen=True):
    inline_data: _Blob | None = None
    thought: bool = False


class _Content(_Struct, frozen=True):
    parts: list[_Part] = []


class _Transcription(_Struct, frozen=True):
    text: str = ""
    finished: bool = False


class _ServerContent(_Struct, frozen=True):
    model_turn: _Content | None = None
    input_transcription: _Transcription | None = None
    output_transcription: _Transcription | None = None
    interrupted: bool = False
    generation_complete: bool = False
    turn_complete: bool = False


class _Call(_Struct, frozen=True):
    id: str
    name: str
    args: dict[str, Any] = {}


class _ToolCall(_Struct, frozen=True):
    function_calls: list[_Call] = []


class _Cancellation(_Struct, frozen=True):
    ids: list[str] = []


class _Resumption(_Struct, frozen=True):
    new_handle: str = ""
    resumable: bool = False


class _GoAway(_Struct, frozen=True):
    time_left: str = ""


class _Server(_Struct, frozen=True):
    setup_complete: dict[str, Any] | None = None
    server_content: _ServerContent | None = None
    tool_call: _ToolCall | None = None
    tool_call_cancellation: _Cancellation | None = None
    session_resumption_update: _Resumption | None = None
    go_away: _GoAway | None = None


class GeminiSession(VendorSession):
    """The answers are items, numbered in the order in which they are made.

    Transcripts come beside the audio, in no order: the words of a turn are those that came before the answer to it.
    Those that come later are a turn of their own, unless they interrupt.
    """

    def __init__(self, settings: GeminiSettings, tools: Sequence[Mapping[str, Any]]) -> None:
        self._settings = settings
        self._tools = tools
        self._speech = SpeechLikely(AudioFormat.PCM16, _INPUT_HZ)
        self._handle = ""
        """Resumes the session as it is now; empty where something was said since."""
        self._resumed = ""
        self._history: list[Said] = []
        self._unanswered = ""
        self._heard = ""
        self._is_caller_speaking = False
        self._is_awaiting_words = False
        self._is_read = False
        """Whether the answer is to a text of ours."""
        self._is_verbatim = False
        self._is_answering = False
        self._item = 0
        self._text = ""
        self._calls: dict[str, str] = {}

    def follows(self, previous: VendorSession) -> None:
        """Resume the previous session, which has ended, where that loses nothing."""
        if isinstance(previous, GeminiSession):
            self._resumed = previous._handle

    def opened(self, history: Sequence[Said]) -> list[Message]:
        lines = list(history)
        if lines and lines[-1].is_caller:
            self._unanswered = lines.pop().text
        self._history = [] if self._resumed else lines
        return [json_message({"setup": self._setup()})]

    def receive(self, message: Message) -> list[VendorEvent]:
        """Take a message; the vendor sends JSON in binary messages too."""
        return self._events(msgspec.json.decode(message, type=_Server))

    def hear(self, audio: bytes) -> list[Message]:
        self._speech.hear(audio)
        blob = {"data": b64encode(audio).decode(), "mimeType": f"{_AUDIO};rate={_INPUT_HZ}"}
        return [json_message({"realtimeInput": {"audio": blob}})]

    def hears_speech(self) -> bool | None:
        return self._speech.is_likely

    def answer(self) -> list[Message]:
        text, self._unanswered = self._unanswered or GO_ON, ""
        return self.read(text)

    def say(self, text: str, *, is_in_history: bool = False) -> list[Message] | None:
        del is_in_history  # the model cannot speak without having it in its history
        messages = self.read(f"{SAY_EXACTLY}{text}")
        self._is_verbatim = True
        return messages

    def read(self, text: str) -> list[Message]:
        self._is_read = True
        self._handle = ""
        return [json_message({"realtimeInput": {"text": text}})]

    def tool_returned(self, call_id: str, output: str) -> list[Message]:
        name = self._calls.pop(call_id, None)
        if name is None:  # cancelled meanwhile
            return []
        result = msgspec.json.decode(output)
        response = result if isinstance(result, dict) and "error" in result else {"output": result}
        returned = {"id": call_id, "name": name, "response": response}
        return [json_message({"toolResponse": {"functionResponses": [returned]}})]

    def _setup(self) -> dict[str, Any]:
        settings = self._settings
        speech: dict[str, Any] = {}
        if settings.voice:
            speech["voiceConfig"] = {"prebuiltVoiceConfig": {"voiceName": settings.voice}}
        if settings.language:
            speech["languageCode"] = settings.language
        config: dict[str, Any] = {"responseModalities": ["AUDIO"]}
        if speech:
            config["speechConfig"] = speech
        name = settings.model
        setup: dict[str, Any] = {
            "model": name if name.startswith("models/") else f"models/{name}",
            "generationConfig": config,
            "inputAudioTranscription": {},
            "outputAudioTranscription": {},
            "sessionResumption": {"handle": self._resumed} if self._resumed else {},
            "contextWindowCompression": {"slidingWindow": {}},
            "realtimeInputConfig": {"automaticActivityDetection": {"silenceDurationMs": settings.silence_ms}},
        }
        if settings.instructions:
            setup["systemInstruction"] = {"parts": [{"text": settings.instructions}]}
        if self._tools:
            setup["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in self._tools]}]
        if self._history:
            setup["historyConfig"] = {"initialHistoryInClientContent": True}
        return setup

    def _events(self, message: _Server) -> list[VendorEvent]:
        events: list[VendorEvent] = []
        if message.setup_complete is not None:
            events += self._ready()
        if message.session_resumption_update is not None:
            update = message.session_resumption_update
            self._handle = update.new_handle if update.resumable and not self._heard else ""
        if message.server_content is not None:
            events += self._content(message.server_content)
        if message.tool_call is not None:
            self._handle = ""
            events += self._begin_answer()
            for call in message.tool_call.function_calls:
                self._calls[call.id] = call.name
                events.append(ToolRequested(call.id, call.name, msgspec.json.encode(call.args).decode()))
        if message.tool_call_cancellation is not None:
            for call_id in message.tool_call_cancellation.ids:
                self._calls.pop(call_id, None)
        if message.go_away is not None:
            events.append(Ending(float(message.go_away.time_left.rstrip("s") or 0)))
        return events

    def _ready(self) -> list[VendorEvent]:
        if not self._history:
            return [Ready()]
        turns = [
            {"role": "user" if line.is_caller else "model", "parts": [{"text": line.text}]} for line in self._history
        ]
        return [ToVendor(json_message({"clientContent": {"turns": turns, "turnComplete": True}})), Ready()]

    def _content(self, content: _ServerContent) -> list[VendorEvent]:
        events: list[VendorEvent] = []
        if content.interrupted:
            self._speech.voice()
            events += [*self._end_answer(is_cut=True), CallerStarted()]
            self._is_caller_speaking = True
        if content.input_transcription is not None:
            events += self._transcribed(content.input_transcription)
        if content.output_transcription is not None and content.output_transcription.text:
            events += self._begin_answer()
            self._text += content.output_transcription.text
            if not self._is_verbatim:
                events.append(ItemText(self._item_id, self._text.strip()))
        for part in content.model_turn.parts if content.model_turn is not None else ():
            if part.inline_data is not None and part.inline_data.mime_type.startswith(_AUDIO) and not part.thought:
                events += self._begin_answer()
                audio = b64decode(part.inline_data.data, validate=True)
                events.append(ItemAudio(self._item_id, audio, is_verbatim=self._is_verbatim))
        if content.generation_complete and self._is_answering:
            events += [*self._late_words(), ItemEnded(self._item_id)]
        if content.turn_complete and not self._calls:
            events += self._end_answer()
        return events

    def _transcribed(self, transcription: _Transcription) -> list[VendorEvent]:
        self._handle = ""
        events: list[VendorEvent] = []
        if transcription.text:
            self._speech.voice()
            if not (self._is_answering or self._is_caller_speaking):
                self._is_caller_speaking = True
                events.append(CallerStarted())
            self._heard += transcription.text
            events.append(PartialWords(self._heard.strip()))
        if transcription.finished and self._is_awaiting_words:
            events += self._late_words()
        return events

    def _begin_answer(self) -> list[VendorEvent]:
        """The vendor answers: all that was transcribed before is the turn that it answers."""
        self._handle = ""
        if self._is_answering:
            return []
        self._is_answering = True
        is_read, self._is_read = self._is_read, False
        if self._heard:
            return [self._words(), Answering()]
        if is_read:
            return [Answering()]
        self._is_awaiting_words = True
        self._is_caller_speaking = False
        return [CallerStopped(), Answering()]

    def _late_words(self) -> list[VendorEvent]:
        if not self._is_awaiting_words:
            return []
        self._is_awaiting_words = False
        return [self._words()]

    def _words(self) -> Words:
        text, self._heard = self._heard.strip(), ""
        self._is_caller_speaking = False
        self._speech.words()
        return Words(text)

    def _end_answer(self, *, is_cut: bool = False) -> list[VendorEvent]:
        if not self._is_answering:
            return []
        events = self._late_words()
        if self._heard and not is_cut:
            events.append(self._words())
        events += [ItemEnded(self._item_id), Answered(is_verbatim=self._is_verbatim, is_cut=is_cut)]
        self._is_answering = self._is_verbatim = False
        self._item += 1
        self._text = ""
        return events

    @property
    def _item_id(self) -> str:
        return f"answer-{self._item}"


def _declaration(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": tool["name"],
        "description": tool["description"] or tool["name"],
        "parametersJsonSchema": tool["parameters"],
    }

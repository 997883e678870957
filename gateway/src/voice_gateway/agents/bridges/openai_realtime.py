"""The agent named "openai-realtime": OpenAI's Realtime API over a WebSocket, general availability version.

A session ends after 60 minutes and cannot be resumed: a new one is given the history as text. The vendor detects turns;
a reply that the caller interrupts is truncated there to what was played.
"""

from __future__ import annotations

import itertools
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal
from urllib.parse import quote

import msgspec
from pydantic import BaseModel, Field

from voice_gateway.agents.bridges.bridge.agent import BridgeAgent, BridgeSettings
from voice_gateway.agents.bridges.bridge.typed_events import EventDecoder
from voice_gateway.agents.bridges.bridge.vendor import (
    NOT_TRANSCRIBED,
    Answered,
    Answering,
    CallerStarted,
    CallerStopped,
    ItemAudio,
    ItemEnded,
    ItemText,
    Message,
    PartialWords,
    Ready,
    Said,
    SessionLost,
    Target,
    ToolRequested,
    ToVendor,
    Vendor,
    VendorEvent,
    VendorFailed,
    VendorSession,
    Words,
)
from voice_gateway.agents.bridges.bridge.wording import SAY_EXACTLY

_NAME: Final = "OpenAI Realtime"
_URL: Final = "wss://api.openai.com/v1"
_PCM_HZ, _PCMU_HZ = 24_000, 8_000
_HOPELESS: Final = {
    "invalid_api_key": "refused the key",
    "invalid_model": "does not know the model",
    "model_not_found": "does not know the model",
    "insufficient_quota": "has no quota left for this key",
    "billing_hard_limit_reached": "has no quota left for this key",
}
_EXPIRED: Final = "session_expired"
_HARMLESS: Final = ("truncate", "cancel")
"""Commands that may come too late, and then have nothing to do."""
_ALREADY_ANSWERING: Final = "conversation_already_has_active_response"


class OpenAIRealtimeSettings(BridgeSettings):
    """`audio` is `pcmu` for telephones, whose audio then passes through untouched, or `pcm` (24 kHz).

    `transcription` is the model that writes down what the caller says, `language` its hint. `silence_ms` ends a turn
    with `server_vad`. `session_s` is how long a session lasts at the vendor.
    """

    model: str = Field(default="gpt-realtime-2.1", min_length=1)
    voice: str = "marin"
    audio: Literal["pcm", "pcmu"] = "pcm"
    transcription: str = "gpt-4o-mini-transcribe"
    language: str = ""
    turn_detection: Literal["server_vad", "semantic_vad"] = "server_vad"
    silence_ms: int = Field(default=500, ge=100, le=5_000)
    session_s: float = Field(default=3_600.0, gt=0)


class OpenAIRealtimeAgent(BridgeAgent):
    """Callers talk with a Realtime model. The key is in `OPENAI_API_KEY` or `api_key_file`."""

    settings_model: ClassVar[type[BaseModel] | None] = OpenAIRealtimeSettings

    def __init__(self, settings: OpenAIRealtimeSettings) -> None:
        super().__init__(OpenAIRealtime(settings), settings)


class OpenAIRealtime(Vendor):
    name = _NAME
    key_variable = "OPENAI_API_KEY"

    def __init__(self, settings: OpenAIRealtimeSettings) -> None:
        self._settings = settings
        self.speak_in(settings.audio, _PCM_HZ, _PCM_HZ)

    def target(self, key: str) -> Target:
        base = (self._settings.base_url or _URL).rstrip("/")
        return Target(f"{base}/realtime?model={quote(self._settings.model)}", {"Authorization": f"Bearer {key}"})

    def session(self, tools: Sequence[Mapping[str, Any]]) -> VendorSession:
        return OpenAIRealtimeSession(self._settings, tools)


class _Updated(msgspec.Struct, frozen=True):
    """The session has its settings."""


class _Turn(msgspec.Struct, frozen=True):
    item_id: str
    audio_start_ms: int = 0
    audio_end_ms: int = 0


class _Transcription(msgspec.Struct, frozen=True):
    item_id: str
    transcript: str = ""
    delta: str | None = None


class _Delta(msgspec.Struct, frozen=True):
    response_id: str
    item_id: str
    delta: str
    content_index: int = 0


class _Transcript(msgspec.Struct, frozen=True):
    item_id: str
    transcript: str


class _Item(msgspec.Struct, frozen=True):
    type: str = ""
    id: str = ""
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class _ItemDone(msgspec.Struct, frozen=True):
    item: _Item


class _Fault(msgspec.Struct, frozen=True):
    type: str | None = None
    code: str | None = None
    param: str | None = None
    event_id: str | None = None


class _Details(msgspec.Struct, frozen=True):
    error: _Fault | None = None


class _Response(msgspec.Struct, frozen=True):
    id: str
    status: str | None = None
    status_details: _Details | None = None
    output: tuple[_Item, ...] | None = None
    metadata: dict[str, str] | None = None


class _ResponseEvent(msgspec.Struct, frozen=True):
    response: _Response


class _Error(msgspec.Struct, frozen=True):
    error: _Fault


_EVENTS: Final = EventDecoder(
    {
        "session.updated": _Updated,
        "input_audio_buffer.speech_started": _Turn,
        "input_audio_buffer.speech_stopped": _Turn,
        "conversation.item.input_audio_transcription.delta": _Transcription,
        "conversation.item.input_audio_transcription.completed": _Transcription,
        "conversation.item.input_audio_transcription.failed": _Transcription,
        "response.created": _ResponseEvent,
        "response.output_audio.delta": _Delta,
        "response.output_audio_transcript.delta": _Delta,
        "response.output_audio_transcript.done": _Transcript,
        "response.output_item.done": _ItemDone,
        "response.done": _ResponseEvent,
        "error": _Error,
    }
)
"""The types that matter here; all others are skipped."""


class OpenAIRealtimeSession(VendorSession):
    """One Realtime session.

    Each command has an `event_id` that begins with its kind, by which an `error` names the command it is about.
    """

    def __init__(self, settings: OpenAIRealtimeSettings, tools: Sequence[Mapping[str, Any]]) -> None:
        self._settings = settings
        self._tools = [{"type": "function", **tool} for tool in tools]
        self._bytes_per_ms = _PCMU_HZ / 1000 if settings.audio == "pcmu" else _PCM_HZ * 2 / 1000
        self._ids = itertools.count(1)
        self._ends_ms: dict[str, int] = {}
        """Turns of the caller that have no words yet, with their ends as far as those are known."""
        self._partial: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._made_bytes: dict[str, int] = {}
        """What was made of each item that can be truncated."""
        self._active: dict[str, bool] = {}
        """Responses in progress, with whether each was asked for by `say`."""
        self._aside: set[str] = set()
        """Those of them whose items the vendor's history does not get."""
        self._calls: set[str] = set()
        """Tools that have not returned."""
        self._is_overtaken = False
        """Whether the caller spoke since tools were called: the vendor then answers by itself."""
        self._failed_answers = 0
        self._is_ready = False

    def opened(self, history: Sequence[Said]) -> list[Message]:
        settings = self._settings
        rate = {} if settings.audio == "pcmu" else {"rate": _PCM_HZ}
        audio_format = {"type": f"audio/{settings.audio}", **rate}
        transcription = {"model": settings.transcription}
        if settings.language:
            transcription["language"] = settings.language
        turn_detection: dict[str, Any] = {
            "type": settings.turn_detection,
            "create_response": True,
            "interrupt_response": True,
        }
        if settings.turn_detection == "server_vad":
            turn_detection["silence_duration_ms"] = settings.silence_ms
        session: dict[str, Any] = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {
                "input": {"format": audio_format, "transcription": transcription, "turn_detection": turn_detection},
                "output": {"format": audio_format, "voice": settings.voice},
            },
        }
        if settings.instructions:
            session["instructions"] = settings.instructions
        if self._tools:
            session["tools"] = self._tools
        return [self._command("session.update", session=session), *(self._item(line) for line in history)]

    def hear(self, audio: bytes) -> list[Message]:
        return [self._command("input_audio_buffer.append", audio=b64encode(audio).decode())]

    def answer(self) -> list[Message]:
        return [self._command("response.create")]

    def say(self, text: str, *, is_in_history: bool) -> list[Message]:
        """Ask for a response with these words; one that the history has already is made outside of it."""
        response: dict[str, Any] = {
            "instructions": SAY_EXACTLY + text,
            "tool_choice": "none",
            "metadata": {"say": "aside" if is_in_history else "said"},
        }
        if is_in_history:
            response |= {"conversation": "none", "input": []}
        return [self._command("response.create", response=response)]

    def read(self, text: str) -> list[Message]:
        return [self._item(Said(is_caller=True, text=text)), *self.answer()]

    def cut_off(self, item_id: str, played_ms: int) -> list[Message]:
        """Truncate the item to what was played, never beyond what was made of it: that would be an error."""
        made_bytes = self._made_bytes.pop(item_id, None)
        if made_bytes is None:
            return []
        end_ms = max(0, min(played_ms, int(made_bytes / self._bytes_per_ms)))
        return [self._command("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=end_ms)]

    def cancel(self) -> list[Message]:
        return [self._command("response.cancel", response_id=response_id) for response_id in self._active]

    def tool_returned(self, call_id: str, output: str) -> list[Message]:
        """Give the result to the vendor; the last one lets it go on, unless the caller spoke meanwhile."""
        self._calls.discard(call_id)
        item = {"type": "function_call_output", "call_id": call_id, "output": output}
        returned: list[Message] = [self._command("conversation.item.create", item=item)]
        return returned if self._calls or self._is_overtaken else returned + self.answer()

    def receive(self, message: Message) -> list[VendorEvent]:
        event = _EVENTS.decode(message)
        return [] if event is None else self._received(*event)

    def _received(self, kind: str, event: Any) -> list[VendorEvent]:
        match event:
            case _Turn():
                return self._turn(kind, event)
            case _Transcription():
                return self._transcription(kind, event)
            case _Delta(response_id, item_id, delta):
                if kind == "response.output_audio.delta":
                    return self._audio(response_id, item_id, b64decode(delta, validate=True))
                self._texts[item_id] = self._texts.get(item_id, "") + delta
                return [ItemText(item_id, self._texts[item_id])]
            case _Transcript(item_id, transcript):
                self._texts[item_id] = transcript
                return [ItemText(item_id, transcript)]
            case _ItemDone(item):
                self._texts.pop(item.id, None)
                return [ItemEnded(item.id)] if item.type == "message" else []
            case _ResponseEvent(response):
                return self._created(response) if kind == "response.created" else self._done(response)
            case _Error(error):
                return self._error(error)
            case _ if not self._is_ready:
                self._is_ready = True
                return [Ready(self._settings.session_s)]
        return []

    def _turn(self, kind: str, turn: _Turn) -> list[VendorEvent]:
        if kind == "input_audio_buffer.speech_stopped":
            self._ends_ms[turn.item_id] = turn.audio_end_ms
            return [CallerStopped(turn.audio_end_ms)]
        self._is_overtaken = True
        self._ends_ms[turn.item_id] = turn.audio_start_ms
        # the vendor interrupts what goes into its history, and nothing else
        stops = [ToVendor(self._command("response.cancel", response_id=each)) for each in self._aside]
        return [CallerStarted(turn.audio_start_ms), *stops]

    def _transcription(self, kind: str, transcription: _Transcription) -> list[VendorEvent]:
        item_id = transcription.item_id
        if item_id not in self._ends_ms:
            return []  # not of this caller's voice: an item that was created as text, or is known already
        if kind.endswith("delta"):
            self._partial[item_id] = self._partial.get(item_id, "") + (transcription.delta or "")
            return [PartialWords(self._partial[item_id])]
        self._partial.pop(item_id, None)
        end_ms = self._ends_ms.pop(item_id)
        text = NOT_TRANSCRIBED if kind.endswith("failed") else transcription.transcript.strip()
        return [Words(text, end_ms)]

    def _audio(self, response_id: str, item_id: str, audio: bytes) -> list[VendorEvent]:
        if response_id not in self._aside:
            self._made_bytes[item_id] = self._made_bytes.get(item_id, 0) + len(audio)
        return [ItemAudio(item_id, audio, is_verbatim=self._active.get(response_id, False))]

    def _created(self, response: _Response) -> list[VendorEvent]:
        say = (response.metadata or {}).get("say")
        self._active[response.id] = say is not None
        if say == "aside":
            self._aside.add(response.id)
        return [Answering()]

    def _done(self, response: _Response) -> list[VendorEvent]:
        is_verbatim = self._active.pop(response.id, False)
        self._aside.discard(response.id)
        if response.status == "failed":
            return self._failed(response, is_verbatim=is_verbatim)
        if response.status == "cancelled":
            return [Answered(is_verbatim, is_cut=True)]
        self._failed_answers = 0
        calls = [item for item in response.output or () if item.type == "function_call"]
        if response.status != "completed" or not calls:
            return [Answered(is_verbatim)]
        self._calls |= {call.call_id for call in calls}
        self._is_overtaken = False
        return [ToolRequested(call.call_id, call.name, call.arguments) for call in calls]

    def _failed(self, response: _Response, *, is_verbatim: bool = False) -> list[VendorEvent]:
        """Ask once more for an answer that failed; what was to be said word for word is left out."""
        fault = (response.status_details and response.status_details.error) or _Fault()
        self._failed_answers += 1
        if fault.code in _HOPELESS:
            return [VendorFailed(f"{_NAME} {_HOPELESS[fault.code]}")]
        if self._failed_answers > 1:
            return [VendorFailed(f"{_NAME} failed twice to answer: {fault.code or fault.type or 'no reason given'}")]
        return [Answered(is_verbatim)] if is_verbatim else [ToVendor(message) for message in self.answer()]

    def _error(self, fault: _Fault) -> list[VendorEvent]:
        """Tell what ends the call or the session from what does not matter. The vendor's text is not repeated."""
        command = (fault.event_id or "").partition("-")[0]
        code = fault.code or fault.type or "unknown_error"
        if code in _HOPELESS:
            return [VendorFailed(f"{_NAME} {_HOPELESS[code]}")]
        if code == _EXPIRED:
            return [SessionLost("session_expired")]
        if command in _HARMLESS or code == _ALREADY_ANSWERING:
            return []
        if command == "session":
            return [VendorFailed(f"{_NAME} refused the settings: {code} in {fault.param or 'session'}")]
        if command == "answer":
            return self._failed(_Response("", "failed", _Details(fault)))
        return [SessionLost(code)] if fault.type == "server_error" else []

    def _item(self, line: Said) -> Message:
        role, kind = ("user", "input_text") if line.is_caller else ("assistant", "output_text")
        item = {"type": "message", "role": role, "content": [{"type": kind, "text": line.text}]}
        return self._command("conversation.item.create", item=item)

    def _command(self, kind: str, **fields: object) -> Message:
        name = _COMMANDS[kind]
        return msgspec.json.encode({"type": kind, "event_id": f"{name}-{next(self._ids)}", **fields}).decode()


_COMMANDS: Final = {
    "session.update": "session",
    "input_audio_buffer.append": "audio",
    "conversation.item.create": "item",
    "conversation.item.truncate": "truncate",
    "response.create": "answer",
    "response.cancel": "cancel",
}

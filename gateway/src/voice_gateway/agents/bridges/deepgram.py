"""The agent named "deepgram": Deepgram's Voice Agent, v1, over a WebSocket.

A session ends after two hours and cannot be resumed: a new one is given the history in its settings. The vendor detects
turns; what of an interrupted answer was played it learns only by the history of the next session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import msgspec
from pydantic import BaseModel, Field

from voice_gateway.agent.base import AudioFormat
from voice_gateway.agents.bridges.bridge.agent import BridgeAgent, BridgeSettings
from voice_gateway.agents.bridges.bridge.echoes import Echoes
from voice_gateway.agents.bridges.bridge.speech_likely import SpeechLikely
from voice_gateway.agents.bridges.bridge.typed_events import event_type
from voice_gateway.agents.bridges.bridge.vendor import (
    Answered,
    Answering,
    CallerStarted,
    ItemAudio,
    ItemEnded,
    ItemText,
    Message,
    Ready,
    Said,
    SessionLost,
    Target,
    ToolRequested,
    Vendor,
    VendorEvent,
    VendorFailed,
    VendorSession,
    Words,
    json_message,
)
from voice_gateway.agents.bridges.bridge.wording import GO_ON

_NAME: Final = "Deepgram"
_URL: Final = "wss://agent.deepgram.com"
_INPUT_HZ, _OUTPUT_HZ, _MULAW_HZ = 16_000, 24_000, 8_000
_KEEP_ALIVE_S: Final = 5
"""Without audio for so long; the vendor ends a session after 10 s without either."""
_HOPELESS: Final = ("INVALID_SETTINGS", "UNPARSABLE_CLIENT_MESSAGE", "INVALID_AUTH", "INSUFFICIENT_CREDITS")


class DeepgramSettings(BridgeSettings):
    """`audio` is `pcmu` for telephones, whose audio then passes through untouched, or `pcm` (16 kHz in, 24 kHz out).

    `listen_model`, `think_model` (of `think_provider`) and `speak_model` are the vendor's names; `keyterms` are words
    that callers are likely to say. `session_s` is how long a session lasts at the vendor.
    """

    audio: Literal["pcm", "pcmu"] = "pcm"
    listen_model: str = Field(default="nova-3", min_length=1)
    language: str = "en"
    keyterms: tuple[str, ...] = ()
    think_provider: str = Field(default="open_ai", min_length=1)
    think_model: str = Field(default="gpt-4o-mini", min_length=1)
    speak_model: str = Field(default="aura-2-thalia-en", min_length=1)
    session_s: float = Field(default=7_200.0, gt=0)


class DeepgramAgent(BridgeAgent):
    """Callers talk with a Deepgram voice agent. The key is in `DEEPGRAM_API_KEY` or `api_key_file`."""

    settings_model: ClassVar[type[BaseModel] | None] = DeepgramSettings

    def __init__(self, settings: DeepgramSettings) -> None:
        super().__init__(Deepgram(settings), settings)


class Deepgram(Vendor):
    name = _NAME
    key_variable = "DEEPGRAM_API_KEY"

    def __init__(self, settings: DeepgramSettings) -> None:
        self._settings = settings
        self.speak_in(settings.audio, _INPUT_HZ, _OUTPUT_HZ)

    def target(self, key: str) -> Target:
        base = (self._settings.base_url or _URL).rstrip("/")
        return Target(f"{base}/v1/agent/converse", {"Authorization": f"Token {key}"})

    def session(self, tools: Sequence[Mapping[str, Any]]) -> VendorSession:
        return DeepgramSession(self._settings, tools)


class _Text(msgspec.Struct, frozen=True):
    role: str
    content: str


class _Function(msgspec.Struct, frozen=True):
    id: str
    name: str
    arguments: str = "{}"
    client_side: bool = True


class _Functions(msgspec.Struct, frozen=True):
    functions: list[_Function]


class _Cancelled(msgspec.Struct, frozen=True):
    id: str


class _CancelledFunctions(msgspec.Struct, frozen=True):
    functions: list[_Cancelled]


class _Fault(msgspec.Struct, frozen=True):
    code: str = ""


class DeepgramSession(VendorSession):
    """The answers are items, numbered in the order in which they are made."""

    def __init__(self, settings: DeepgramSettings, tools: Sequence[Mapping[str, Any]]) -> None:
        self._settings = settings
        self._tools = tools
        is_pcmu = settings.audio == "pcmu"
        self._speech = SpeechLikely(
            AudioFormat.PCMU if is_pcmu else AudioFormat.PCM16, _MULAW_HZ if is_pcmu else _INPUT_HZ
        )
        self._unanswered = ""
        """The caller's last line of the history, which is sent when it is to be answered."""
        self._echoes = Echoes()
        self._verbatim: str | None = None
        self._item = 0
        self._text = ""
        self._is_answering = False
        self._calls: dict[str, str] = {}
        self._silent_s = 0

    def opened(self, history: Sequence[Said]) -> list[Message]:
        lines = list(history)
        if lines and lines[-1].is_caller:
            self._unanswered = lines.pop().text
        return [json_message(self._configuration(lines))]

    def receive(self, message: Message) -> list[VendorEvent]:
        if isinstance(message, bytes):
            return self._audio(message)
        return self._event(event_type(message), message)

    def hear(self, audio: bytes) -> list[Message]:
        self._silent_s = 0
        self._speech.hear(audio)
        return [audio]

    def hears_speech(self) -> bool | None:
        return self._speech.is_likely

    def keep_alive(self) -> list[Message]:
        """Say that the session is wanted where no audio does."""
        self._silent_s += 1
        if self._silent_s < _KEEP_ALIVE_S:
            return []
        self._silent_s = 0
        return [json_message({"type": "KeepAlive"})]

    def answer(self) -> list[Message]:
        text, self._unanswered = self._unanswered or GO_ON, ""
        return self.read(text)

    def say(self, text: str, *, is_in_history: bool = False) -> list[Message] | None:
        del is_in_history  # the vendor repeats it either way
        self._verbatim = text
        return [json_message({"type": "InjectAgentMessage", "message": text})]

    def read(self, text: str) -> list[Message]:
        self._echoes.sent(text)
        return [json_message({"type": "InjectUserMessage", "content": text})]

    def tool_returned(self, call_id: str, output: str) -> list[Message]:
        name = self._calls.pop(call_id, None)
        if name is None:  # cancelled meanwhile
            return []
        return [json_message({"type": "FunctionCallResponse", "id": call_id, "name": name, "content": output})]

    def _configuration(self, history: Sequence[Said]) -> dict[str, Any]:
        settings = self._settings
        is_pcmu = settings.audio == "pcmu"
        encoding = "mulaw" if is_pcmu else "linear16"
        listen: dict[str, Any] = {"type": "deepgram", "model": settings.listen_model}
        if settings.keyterms:
            listen["keyterms"] = list(settings.keyterms)
        think: dict[str, Any] = {"provider": {"type": settings.think_provider, "model": settings.think_model}}
        if settings.instructions:
            think["prompt"] = settings.instructions
        if self._tools:
            think["functions"] = [dict(tool) for tool in self._tools]
        agent: dict[str, Any] = {
            "language": settings.language,
            "listen": {"provider": listen},
            "think": think,
            "speak": {"provider": {"type": "deepgram", "model": settings.speak_model}},
        }
        if history:
            lines = [_line("user" if line.is_caller else "assistant", line.text) for line in history]
            agent["context"] = {"messages": lines}
        source = {"encoding": encoding, "sample_rate": _MULAW_HZ if is_pcmu else _INPUT_HZ}
        output = {"encoding": encoding, "sample_rate": _MULAW_HZ if is_pcmu else _OUTPUT_HZ, "container": "none"}
        return {"type": "Settings", "audio": {"input": source, "output": output}, "agent": agent}

    def _event(self, kind: str, message: str) -> list[VendorEvent]:
        match kind:
            case "SettingsApplied":
                return [Ready(self._settings.session_s)]
            case "UserStartedSpeaking":
                self._speech.voice()
                return [CallerStarted(), *self._end_answer(is_cut=True)]
            case "ConversationText":
                return self._conversation_text(msgspec.json.decode(message, type=_Text))
            case "FunctionCallRequest":
                return self._call(msgspec.json.decode(message, type=_Functions))
            case "FunctionCallCancelled":
                for each in msgspec.json.decode(message, type=_CancelledFunctions).functions:
                    self._calls.pop(each.id, None)
            case "AgentAudioDone":
                return self._audio_done()
            case "InjectionRefused":
                if self._echoes.is_waiting and self._verbatim is None:  # the next session has it in its history
                    return [SessionLost("refused a text of the caller")]
                return self._end_answer(is_cut=True)
            case "Error":
                code = msgspec.json.decode(message, type=_Fault).code
                if code in _HOPELESS:
                    return [VendorFailed(f"{_NAME} refused the session: {code}")]
                return [SessionLost(f"reported {code or 'an error'}")]
        return []

    def _conversation_text(self, text: _Text) -> list[VendorEvent]:
        if text.role == "user":
            self._speech.words()
            if self._echoes.take(text.content):
                self._is_answering = True
                return [Answering()]
            ended = self._end_answer(is_cut=True)
            self._is_answering = True
            return [*ended, Words(text.content), Answering()]
        if self._verbatim is not None:
            return []
        began = self._begin_answer()
        self._text = f"{self._text} {text.content}".strip()
        return [*began, ItemText(self._item_id, self._text)]

    def _audio(self, audio: bytes) -> list[VendorEvent]:
        began = self._begin_answer() if self._verbatim is None else []
        return [*began, ItemAudio(self._item_id, audio, is_verbatim=self._verbatim is not None)]

    def _call(self, request: _Functions) -> list[VendorEvent]:
        requests = [each for each in request.functions if each.client_side]
        self._calls |= {each.id: each.name for each in requests}
        events = [ToolRequested(each.id, each.name, each.arguments) for each in requests]
        return [*self._begin_answer(), *events]

    def _audio_done(self) -> list[VendorEvent]:
        if not self._calls:
            return self._end_answer()
        item_id = self._item_id  # what is said while a tool works
        self._next_item()
        return [ItemEnded(item_id)]

    def _begin_answer(self) -> list[VendorEvent]:
        if self._is_answering:
            return []
        self._is_answering = True
        return [Answering()]

    def _end_answer(self, *, is_cut: bool = False) -> list[VendorEvent]:
        is_verbatim = self._verbatim is not None
        if not (self._is_answering or is_verbatim):
            return []
        item_id = self._item_id
        self._next_item()
        self._is_answering, self._verbatim = False, None
        return [ItemEnded(item_id), Answered(is_verbatim=is_verbatim, is_cut=is_cut)]

    @property
    def _item_id(self) -> str:
        return f"answer-{self._item}"

    def _next_item(self) -> None:
        self._item += 1
        self._text = ""


def _line(role: str, text: str) -> dict[str, str]:
    return {"type": "History", "role": role, "content": text}

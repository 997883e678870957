"""The agent named "elevenlabs": an agent configured at ElevenLabs Agents, over a WebSocket.

Voice, model, tools, turn taking and audio formats belong to the agent at the vendor. It takes no history: a new session
is given what was said as a contextual update, and as the dynamic variable `conversation_so_far` for its prompt.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any, ClassVar, Final, Literal
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request

import msgspec
from pydantic import BaseModel, Field, field_validator

from voice_gateway.agent.base import AudioFormat
from voice_gateway.agents.bridges.bridge.agent import BridgeAgent, BridgeSettings
from voice_gateway.agents.bridges.bridge.echoes import Echoes
from voice_gateway.agents.bridges.bridge.speech_likely import SpeechLikely
from voice_gateway.agents.bridges.bridge.typed_events import event_type
from voice_gateway.agents.bridges.bridge.vendor import (
    Answered,
    Answering,
    CallerStarted,
    CallerStopped,
    ItemAudio,
    ItemEnded,
    ItemText,
    LocateError,
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
    json_message,
)
from voice_gateway.agents.bridges.bridge.wording import GO_ON, SAY_EXACTLY
from voice_gateway.net.no_redirects import direct_opener

_NAME: Final = "ElevenLabs"
_URL: Final = "https://api.elevenlabs.io"
_SIGNED: Final = "/v1/convai/conversation/get-signed-url"
_LOCATE_TIMEOUT_S: Final = 10.0
_LARGEST_ANSWER: Final = 65_536
_PCM_HZ, _PCMU_HZ = 16_000, 8_000
_SO_FAR: Final = "conversation_so_far"
_MOST_SO_FAR: Final = 8_000
"""Characters of the history that a new session is given, the newest."""
_PINGS_TO_END: Final = 2
"""An answer is whole after so many pings without audio of it, where the vendor does not say so."""
_HOPELESS: Final = (
    "invalid_message",
    "missing_dynamic_variable",
    "missing_fields",
    "override_error",
    "safety_violation",
    "value_error",
)


class ElevenLabsSettings(BridgeSettings):
    """`agent_id` is the agent's at the vendor; `instructions` and `first_message` override its own, if it allows that.

    `audio` is what is configured there for both directions: `pcm` is PCM 16000 Hz, `pcmu` is mu-law 8000 Hz, which
    passes a telephone's audio through untouched. `tools` answer the client tools of the same names that the agent has.
    """

    agent_id: str = Field(min_length=1)
    audio: Literal["pcm", "pcmu"] = "pcm"
    first_message: str = ""
    dynamic_variables: dict[str, str] = Field(default_factory=dict)

    @field_validator("greeting")
    @classmethod
    def _is_the_agents_own(cls, greeting: str) -> str:
        if greeting:
            raise ValueError("the agent at ElevenLabs says its own first message: set first_message to override it")
        return greeting


class ElevenLabsAgent(BridgeAgent):
    """Callers talk with an agent of ElevenLabs. The key is in `ELEVENLABS_API_KEY` or `api_key_file`."""

    settings_model: ClassVar[type[BaseModel] | None] = ElevenLabsSettings

    def __init__(self, settings: ElevenLabsSettings) -> None:
        super().__init__(ElevenLabs(settings), settings)


class ElevenLabs(Vendor):
    name = _NAME
    key_variable = "ELEVENLABS_API_KEY"

    def __init__(self, settings: ElevenLabsSettings) -> None:
        self._settings = settings
        self.speak_in(settings.audio, _PCM_HZ, _PCM_HZ)

    def target(self, key: str) -> Target:
        base = (self._settings.base_url or _URL).rstrip("/")
        return Target(f"{base}{_SIGNED}?agent_id={quote(self._settings.agent_id)}", {"xi-api-key": key})

    async def locate(self, target: Target) -> Target:
        """Ask for a signed URL, which holds for one session."""
        return Target(await asyncio.to_thread(_signed_url, target), {})

    def session(self, tools: Sequence[Mapping[str, Any]]) -> VendorSession:
        del tools  # they are configured at the vendor
        return ElevenLabsSession(self._settings)


class _SignedUrl(msgspec.Struct, frozen=True):
    signed_url: str


_OPENER: Final = direct_opener()


def _signed_url(target: Target) -> str:
    if not target.url.startswith(("https://", "http://")):
        raise ValueError("base_url must begin with https://")
    request = Request(target.url, headers=dict(target.headers))  # noqa: S310 - the scheme is checked above
    try:
        with _OPENER.open(request, timeout=_LOCATE_TIMEOUT_S) as answer:
            body = answer.read(_LARGEST_ANSWER)
    except HTTPError as error:
        error.close()
        raise LocateError(error.code) from None
    except HTTPException as error:
        raise OSError(f"no answer in HTTP: {type(error).__name__}") from None
    try:
        return msgspec.json.decode(body, type=_SignedUrl).signed_url
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise OSError("malformed answer to the request for a signed URL") from None


class _Metadata(msgspec.Struct, frozen=True):
    agent_output_audio_format: str
    user_input_audio_format: str


class _MetadataEvent(msgspec.Struct, frozen=True):
    conversation_initiation_metadata_event: _Metadata


class _Audio(msgspec.Struct, frozen=True):
    audio_base_64: str
    event_id: int


class _AudioEvent(msgspec.Struct, frozen=True):
    audio_event: _Audio


class _Id(msgspec.Struct, frozen=True):
    event_id: int


class _PingEvent(msgspec.Struct, frozen=True):
    ping_event: _Id


class _InterruptionEvent(msgspec.Struct, frozen=True):
    interruption_event: _Id


class _Transcript(msgspec.Struct, frozen=True):
    user_transcript: str


class _TranscriptEvent(msgspec.Struct, frozen=True):
    user_transcription_event: _Transcript


class _TentativeEvent(msgspec.Struct, frozen=True):
    tentative_user_transcription_event: _Transcript


class _Response(msgspec.Struct, frozen=True):
    agent_response: str


class _ResponseEvent(msgspec.Struct, frozen=True):
    agent_response_event: _Response


class _Call(msgspec.Struct, frozen=True):
    tool_name: str
    tool_call_id: str
    parameters: dict[str, Any]


class _CallEvent(msgspec.Struct, frozen=True):
    client_tool_call: _Call


class _Fault(msgspec.Struct, frozen=True):
    error_type: str = ""


class _FaultEvent(msgspec.Struct, frozen=True):
    error_event: _Fault


class ElevenLabsSession(VendorSession):
    """The answers are items, numbered in the order in which they are made.

    Audio whose `event_id` is not above that of the last interruption is dropped.
    """

    def __init__(self, settings: ElevenLabsSettings) -> None:
        self._settings = settings
        is_pcmu = settings.audio == "pcmu"
        self._format = f"ulaw_{_PCMU_HZ}" if is_pcmu else f"pcm_{_PCM_HZ}"
        self._speech = SpeechLikely(
            AudioFormat.PCMU if is_pcmu else AudioFormat.PCM16, _PCMU_HZ if is_pcmu else _PCM_HZ
        )
        self._so_far = ""
        self._unanswered = ""
        self._is_greeting_unwanted = False
        """Whether the agent's first message, which it says in every session, was said in an earlier one."""
        self._echoes = Echoes()
        self._verbatim: str | None = None
        self._interrupted_id = -1
        self._item = 0
        self._text = ""
        self._is_answering = False
        self._is_caller_speaking = False
        self._has_audio = False
        self._pings = 0
        self._calls: set[str] = set()

    def opened(self, history: Sequence[Said]) -> list[Message]:
        lines = list(history)
        self._is_greeting_unwanted = bool(lines)
        if lines and lines[-1].is_caller:
            self._unanswered = lines.pop().text
        said = [f"{'Caller' if line.is_caller else 'Agent'}: {line.text}" for line in lines]
        self._so_far = "\n".join(said)[-_MOST_SO_FAR:]
        settings = self._settings
        agent: dict[str, Any] = {}
        if settings.instructions:
            agent["prompt"] = {"prompt": settings.instructions}
        if settings.first_message:
            agent["first_message"] = settings.first_message
        initiation: dict[str, Any] = {
            "type": "conversation_initiation_client_data",
            "dynamic_variables": {**settings.dynamic_variables, _SO_FAR: self._so_far},
        }
        if agent:
            initiation["conversation_config_override"] = {"agent": agent}
        return [json_message(initiation)]

    def receive(self, message: Message) -> list[VendorEvent]:
        return self._event(event_type(message), message)

    def hear(self, audio: bytes) -> list[Message]:
        self._speech.hear(audio)
        return [json_message({"user_audio_chunk": b64encode(audio).decode()})]

    def hears_speech(self) -> bool | None:
        return self._speech.is_likely

    def answer(self) -> list[Message]:
        text, self._unanswered = self._unanswered or GO_ON, ""
        return self.read(text)

    def say(self, text: str, *, is_in_history: bool = False) -> list[Message] | None:
        del is_in_history  # the agent cannot be made to speak otherwise
        messages = self.read(f"{SAY_EXACTLY}{text}")
        self._verbatim = text
        return messages

    def read(self, text: str) -> list[Message]:
        self._is_greeting_unwanted = False
        self._echoes.sent(text)
        return [json_message({"type": "user_message", "text": text})]

    def tool_returned(self, call_id: str, output: str) -> list[Message]:
        if call_id not in self._calls:
            return []
        self._calls.remove(call_id)
        result = msgspec.json.decode(output)
        is_error = isinstance(result, dict) and "error" in result
        text = result if isinstance(result, str) else output
        answer = {"type": "client_tool_result", "tool_call_id": call_id, "result": text, "is_error": is_error}
        return [json_message(answer)]

    def _event(self, kind: str, message: Message) -> list[VendorEvent]:
        match kind:
            case "conversation_initiation_metadata":
                return self._ready(msgspec.json.decode(message, type=_MetadataEvent))
            case "ping":
                return self._ping(msgspec.json.decode(message, type=_PingEvent).ping_event.event_id)
            case "audio":
                return self._audio(msgspec.json.decode(message, type=_AudioEvent).audio_event)
            case "agent_response":
                return self._response(msgspec.json.decode(message, type=_ResponseEvent))
            case "agent_response_complete":
                return self._end_answer() if self._has_audio and not self._calls else []
            case "user_transcript":
                return self._words(msgspec.json.decode(message, type=_TranscriptEvent))
            case "tentative_user_transcript":
                event = msgspec.json.decode(message, type=_TentativeEvent)
                self._speech.voice()
                return [PartialWords(event.tentative_user_transcription_event.user_transcript.strip())]
            case "interruption":
                event_id = msgspec.json.decode(message, type=_InterruptionEvent).interruption_event.event_id
                self._interrupted_id = max(self._interrupted_id, event_id)
                self._is_caller_speaking = True
                self._speech.voice()
                return [*self._end_answer(is_cut=True), CallerStarted()]
            case "client_tool_call":
                call = msgspec.json.decode(message, type=_CallEvent).client_tool_call
                self._calls.add(call.tool_call_id)
                arguments = msgspec.json.encode(call.parameters).decode()
                return [*self._begin_answer(), ToolRequested(call.tool_call_id, call.tool_name, arguments)]
            case "error":
                return self._failed(msgspec.json.decode(message, type=_FaultEvent).error_event.error_type)
        return []

    def _ready(self, event: _MetadataEvent) -> list[VendorEvent]:
        metadata = event.conversation_initiation_metadata_event
        formats = {metadata.agent_output_audio_format, metadata.user_input_audio_format}
        if formats != {self._format}:
            found = " and ".join(sorted(formats))
            wanted = self._format.replace("_", " ")
            return [VendorFailed(f"{_NAME} has {found} configured for the agent: set both formats to {wanted} Hz")]
        if not self._so_far:
            return [Ready()]
        text = f"The call goes on after an interruption. Do not greet again. So far:\n{self._so_far}"
        return [ToVendor(json_message({"type": "contextual_update", "text": text})), Ready()]

    def _ping(self, event_id: int) -> list[VendorEvent]:
        pong = ToVendor(json_message({"type": "pong", "event_id": event_id}))
        if not (self._is_answering and self._has_audio) or self._calls:
            return [pong]
        self._pings += 1
        return [pong, *(self._end_answer() if self._pings >= _PINGS_TO_END else ())]

    def _audio(self, audio: _Audio) -> list[VendorEvent]:
        if audio.event_id <= self._interrupted_id or self._is_greeting_unwanted:
            return []
        began = self._begin_answer()
        self._has_audio = True
        self._pings = 0
        pcm = b64decode(audio.audio_base_64, validate=True)
        return [*began, ItemAudio(self._item_id, pcm, is_verbatim=self._verbatim is not None)]

    def _response(self, event: _ResponseEvent) -> list[VendorEvent]:
        if self._is_greeting_unwanted:
            return []
        events: list[VendorEvent] = []
        if self._text:  # another one before the end of the last was noticed
            events.append(ItemEnded(self._item_id))
            self._next_item()
        events += self._begin_answer()
        self._text = event.agent_response_event.agent_response.strip()
        return events if self._verbatim is not None else [*events, ItemText(self._item_id, self._text)]

    def _words(self, event: _TranscriptEvent) -> list[VendorEvent]:
        text = event.user_transcription_event.user_transcript.strip()
        if self._echoes.take(text):
            return self._begin_answer()
        self._speech.words()
        self._is_greeting_unwanted = False
        ended = self._end_answer()
        self._is_answering = True
        started = [] if self._is_caller_speaking else [CallerStarted()]
        self._is_caller_speaking = False
        return [*ended, *started, CallerStopped(), Words(text), Answering()]

    def _failed(self, kind: str) -> list[VendorEvent]:
        if kind in _HOPELESS:
            return [VendorFailed(f"{_NAME} refused the session: {kind}")]
        return [SessionLost(f"reported {kind or 'an error'}")]

    def _begin_answer(self) -> list[VendorEvent]:
        if self._is_answering:
            return []
        self._is_answering = True
        return [Answering()]

    def _end_answer(self, *, is_cut: bool = False) -> list[VendorEvent]:
        if not self._is_answering:
            return []
        events: list[VendorEvent] = [
            ItemEnded(self._item_id),
            Answered(is_verbatim=self._verbatim is not None, is_cut=is_cut),
        ]
        self._is_answering, self._verbatim = False, None
        self._next_item()
        return events

    @property
    def _item_id(self) -> str:
        return f"answer-{self._item}"

    def _next_item(self) -> None:
        self._item += 1
        self._text = ""
        self._has_audio = False
        self._pings = 0

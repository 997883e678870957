"""Deepgram's Voice Agent, v1: JSON and binary audio over one WebSocket, held to the models of deepgram-sdk."""

from __future__ import annotations

import asyncio
import json
import typing
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Final

import deepgram.agent.v1.types as models
import pydantic
from deepgram.agent.v1.types.agent_v1settings_audio_input_encoding import AgentV1SettingsAudioInputEncoding
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request

from tests.agents.support.vendors.brain import EAR_RATE_HZ, TOOL, Brain, Line, Thoughts
from tests.agents.support.vendors.server import KEY, Json, VendorServer, VendorSession, Violation, header, pieces
from voicelink.audio.codecs.g711 import pcmu_decode, pcmu_encode
from voicelink.audio.resample import Resampler
from voicelink.audio.speech import SPEECH_RATE_HZ

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it names a class of websockets that is to go
    from deepgram.agent.v1.socket_client import V1SocketClientResponse

_Table = Mapping[str, Any]
"""A pydantic type for each `type` of a message."""


def _by_type(kinds: Iterable[type[pydantic.BaseModel]]) -> _Table:
    table: dict[str, Any] = {}
    for kind in kinds:
        name = kind.model_fields["type"].default
        table[name] = kind if name not in table else table[name] | kind
    return {name: pydantic.TypeAdapter(kind) for name, kind in table.items()}


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


_UP: Final = _by_type(
    (
        models.AgentV1Settings,
        models.AgentV1UpdateListen,
        models.AgentV1UpdateThink,
        models.AgentV1UpdateSpeak,
        models.AgentV1InjectUserMessage,
        models.AgentV1InjectAgentMessage,
        models.AgentV1SendFunctionCallResponse,
        models.AgentV1KeepAlive,
        models.AgentV1UpdatePrompt,
        models.AgentV1ForceEndTurn,
    )
)
_DOWN: Final = _by_type(kind for kind in typing.get_args(V1SocketClientResponse) if _is_model(kind))
_ENCODINGS: Final = typing.get_args(typing.get_args(AgentV1SettingsAudioInputEncoding)[0])
_PIECE_BYTES: Final = 960
_SILENCE_S: Final = 12.0
"""After so long without a message the session ends with CLIENT_MESSAGE_TIMEOUT."""
_RECENT_S: Final = 2.0
"""A KeepAlive so soon after audio says that the client sends both."""


class DeepgramSession(VendorSession):
    path = "/v1/agent/converse"

    def __init__(self, server: VendorServer, connection: ServerConnection) -> None:
        super().__init__(server, connection)
        self.settings: Json | None = None
        self.silence_s = _SILENCE_S
        self.refuses_texts = False
        self._is_applied = False
        self._last_audio_at = float("-inf")
        self._brain: Brain | None = None
        self._thoughts = Thoughts(self._speech, self._words, self._answer)
        self._calls: dict[str, asyncio.Future[str]] = {}
        self._called = 0
        self._is_mulaw = False
        self._up = Resampler(EAR_RATE_HZ, EAR_RATE_HZ)
        self._silence = asyncio.get_running_loop().call_later(_SILENCE_S, self._timed_out)

    @property
    def history(self) -> list[Line]:
        """What the vendor knows of the conversation."""
        return self._thoughts.history

    @classmethod
    def has_key(cls, request: Request) -> bool:
        return header(request, "Authorization") == f"Token {KEY}"

    def check_up(self, message: Json) -> str:
        return _check(_UP, message)

    def check_down(self, message: Json) -> str:
        return _check(_DOWN, message)

    def opened(self) -> None:
        self.send({"type": "Welcome", "request_id": "request"})

    def handle(self, name: str, message: Json) -> None:
        self._rearm()
        if (name == "Settings") != (self.settings is None):
            raise Violation(f"{name}: Settings comes first, and once")
        if name == "Settings":
            self._apply(message)
        elif name == "KeepAlive":
            if asyncio.get_running_loop().time() - self._last_audio_at < _RECENT_S:
                raise Violation("KeepAlive while audio is sent")
        elif name == "FunctionCallResponse":
            waiting = self._calls.pop(message.get("id", ""), None)
            if waiting is None:
                raise Violation(f"FunctionCallResponse for no open call: {message.get('id')}")
            waiting.set_result(message["content"])
        elif name == "InjectUserMessage" and self.refuses_texts:
            self.send({"type": "InjectionRefused", "message": "the caller speaks"})
        elif name == "InjectUserMessage" and self._brain is not None:
            self._words(message["content"])
            self._brain.ask(message["content"])
        elif name == "InjectAgentMessage" and self._brain is not None:
            self._brain.say(message["message"])

    def audio(self, data: bytes) -> None:
        self._rearm()
        if not self._is_applied or self._brain is None:
            raise Violation("audio before SettingsApplied")
        self._last_audio_at = asyncio.get_running_loop().time()
        self.audio_bytes += len(data)
        self._brain.hear(self._up.push(pcmu_decode(data) if self._is_mulaw else data))

    def closed(self) -> None:
        self._silence.cancel()
        if self._brain is not None:
            self._brain.close()

    def _apply(self, message: Json) -> None:
        self.settings = message
        source, output = message["audio"]["input"], message["audio"]["output"]
        for each in (source, output):
            if each["encoding"] not in _ENCODINGS:
                raise Violation(f"encoding {each['encoding']}")
        self._is_mulaw = source["encoding"] == "mulaw"
        self._up = Resampler(source["sample_rate"], EAR_RATE_HZ)
        agent = message["agent"]
        for each in agent.get("context", {}).get("messages", ()):
            self.history.append(Line(each["role"], each["content"]))
        functions = [each["name"] for each in agent["think"].get("functions", ())]
        self._thoughts.call_tool = self._call if TOOL in functions else None
        self._brain = Brain(self.server.ears, self._thoughts)
        self.send({"type": "SettingsApplied"})
        self._is_applied = True
        if agent.get("greeting"):
            self._brain.say(agent["greeting"])

    def _speech(self, _is_interruption: bool) -> None:
        self.send({"type": "UserStartedSpeaking"})

    def _words(self, text: str) -> None:
        self._text("user", text)

    def _answer(self, text: str, pcm: bytes) -> None:
        self._text("assistant", text)
        latency = {"total_latency": 0.5, "tts_latency": 0.2, "ttt_latency": 0.3}
        self.send({"type": "AgentStartedSpeaking", **latency})
        for each in pieces(self._encoded(pcm), _PIECE_BYTES):
            self.send(each)
        self.send({"type": "AgentAudioDone"})

    def _text(self, role: str, text: str) -> None:
        self.send({"type": "ConversationText", "role": role, "content": text, "conversational_behavior": "default"})
        self.send({"type": "History", "role": role, "content": text})

    def _encoded(self, pcm: bytes) -> bytes:
        output = (self.settings or {})["audio"]["output"]
        converted = Resampler(SPEECH_RATE_HZ, output["sample_rate"]).push(pcm)
        return pcmu_encode(converted) if output["encoding"] == "mulaw" else converted

    async def _call(self, name: str, arguments: dict[str, str]) -> str:
        self._called += 1
        call_id = f"call-{self._called}"
        self._calls[call_id] = asyncio.get_running_loop().create_future()
        function = {"id": call_id, "name": name, "arguments": json.dumps(arguments), "client_side": True}
        self.send({"type": "FunctionCallRequest", "functions": [function]})
        return await self._calls[call_id]

    def _rearm(self) -> None:
        self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(self.silence_s, self._timed_out)

    def _timed_out(self) -> None:
        self.send({"type": "Error", "description": "no message from the client", "code": "CLIENT_MESSAGE_TIMEOUT"})
        self.end()


def _check(table: _Table, message: Json) -> str:
    name = message.get("type")
    model = table.get(str(name))
    if model is None:
        raise Violation(f"unknown type {name}")
    unknown = _unknown_keys(model.validate_python(message))
    if unknown:
        raise Violation(f"{name}: unknown keys {', '.join(unknown)}")
    return str(name)


def _unknown_keys(value: Any, path: str = "") -> list[str]:
    """Name the keys that no model knows: the models themselves let them pass."""
    if isinstance(value, pydantic.BaseModel):
        found = [path + key for key in value.model_extra or {}]
        for key in type(value).model_fields:
            found += _unknown_keys(getattr(value, key), f"{path}{key}.")
        return found
    if isinstance(value, list):
        return [key for index, each in enumerate(value) for key in _unknown_keys(each, f"{path}{index}.")]
    return []

"""ElevenLabs Agents: JSON over one WebSocket, held to the schema of the npm package @elevenlabs/types.

Tools, voice and first message belong to the agent that is configured at the vendor; audio formats too.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from tests.agents.support.vendors.brain import EAR_RATE_HZ, Brain, Thoughts
from tests.agents.support.vendors.server import KEY, Json, VendorServer, VendorSession, Violation, header, pieces
from voicelink.audio.codecs.g711 import pcmu_decode, pcmu_encode
from voicelink.audio.resample import Resampler
from voicelink.audio.speech import SPEECH_RATE_HZ

AGENT_ID: Final = "agent"
_SIGNED: Final = "/v1/convai/conversation/get-signed-url"
_SIGNATURE: Final = "signed"
_SCHEMA: Final = Path(__file__).with_suffix(".json")
_DEFINITIONS: Final[Mapping[str, Json]] = json.loads(_SCHEMA.read_text("utf-8"))["definitions"]
_PIECE_MS: Final = 100
_MOST_UNANSWERED: Final = 10
_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


class ElevenLabsSession(VendorSession):
    path = "/v1/convai/conversation"
    audio_format = "pcm_16000"
    """Of both directions, as configured for the agent; `ulaw_8000` for a telephone's."""
    ping_every_s = 0.2
    first_message = ""

    def __init__(self, server: VendorServer, connection: ServerConnection) -> None:
        super().__init__(server, connection)
        self.initiation: Json | None = None
        self.context: list[str] = []
        """What `contextual_update` said."""
        self._event_id = 0
        self._pings = 0
        self._unanswered: set[int] = set()
        self._calls: dict[str, asyncio.Future[str]] = {}
        self._called = 0
        self._brain: Brain | None = None
        self._is_mulaw = self.audio_format == "ulaw_8000"
        self._rate_hz = int(self.audio_format.partition("_")[2])
        self._up = Resampler(self._rate_hz, EAR_RATE_HZ)
        self.thoughts = Thoughts(self._speech, self._words, self._answer, self._call if server.offers_tools else None)

    @classmethod
    def admit(cls, server: VendorServer, connection: ServerConnection, request: Request) -> Response | None:
        if request.path.partition("?")[0] != _SIGNED:
            return super().admit(server, connection, request)
        if header(request, "xi-api-key") != KEY:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong key\n")
        agent_id = parse_qs(urlsplit(request.path).query).get("agent_id", [""])[0]
        signed = f"{server.url}{cls.path}?agent_id={agent_id}&conversation_signature={_SIGNATURE}"
        response = connection.respond(HTTPStatus.OK, json.dumps({"signed_url": signed}))
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        return response

    @classmethod
    def has_key(cls, request: Request) -> bool:
        query = parse_qs(urlsplit(request.path).query)
        return query.get("agent_id") == [AGENT_ID] and query.get("conversation_signature") == [_SIGNATURE]

    def check_up(self, message: Json) -> str:
        check(message, "Up")
        return str(message.get("type", "user_audio_chunk"))

    def check_down(self, message: Json) -> str:
        check(message, "Down")
        return str(message["type"])

    def opened(self) -> None:
        """The vendor says nothing before the client's initiation."""

    def handle(self, name: str, message: Json) -> None:
        if (name == "conversation_initiation_client_data") != (self.initiation is None):
            raise Violation(f"{name}: conversation_initiation_client_data comes first, and once")
        match name:
            case "conversation_initiation_client_data":
                self._initiate(message)
            case "user_audio_chunk":
                self._hear(base64.b64decode(message["user_audio_chunk"], validate=True))
            case "pong":
                if message["event_id"] not in self._unanswered:
                    raise Violation(f"pong for no ping: {message['event_id']}")
                self._unanswered.remove(message["event_id"])
            case "client_tool_result":
                waiting = self._calls.pop(message["tool_call_id"], None)
                if waiting is None:
                    raise Violation(f"client_tool_result for no open call: {message['tool_call_id']}")
                waiting.set_result(message["result"])
            case "contextual_update":
                self.context.append(message["text"])
            case "user_message" if self._brain is not None:
                self._brain.ask(message["text"])

    def closed(self) -> None:
        if self._brain is not None:
            self._brain.close()

    def _initiate(self, message: Json) -> None:
        self.initiation = message
        self._brain = Brain(self.server.ears, self.thoughts)
        self._down(
            "conversation_initiation_metadata",
            conversation_initiation_metadata_event={
                "conversation_id": f"conversation-{len(self.server.sessions)}",
                "agent_output_audio_format": self.audio_format,
                "user_input_audio_format": self.audio_format,
            },
        )
        self.start(self._ping())
        override = message.get("conversation_config_override", {}).get("agent", {})
        first = override.get("first_message", self.first_message)
        if first:
            self._brain.say(first)

    def _hear(self, data: bytes) -> None:
        if self._brain is None:
            raise Violation("audio before conversation_initiation_client_data")
        self.audio_bytes += len(data)
        self._brain.hear(self._up.push(pcmu_decode(data) if self._is_mulaw else data))

    async def _ping(self) -> None:
        while True:
            if len(self._unanswered) > _MOST_UNANSWERED:
                self.server.violations.append("ping was not answered by pong")
                self.end()
                return
            self._pings += 1
            self._unanswered.add(self._pings)
            self._down("ping", ping_event={"event_id": self._pings, "ping_ms": 20})
            await asyncio.sleep(self.ping_every_s)

    def _speech(self, is_interruption: bool) -> None:
        if not is_interruption:
            return
        self._down("interruption", interruption_event={"event_id": self._event_id})
        self._audio(bytes(self._piece_bytes))  # was on its way; the client must not play it

    def _words(self, text: str) -> None:
        event = {"user_transcript": text, "event_id": self._event_id}
        self._down("user_transcript", user_transcription_event=event)

    def _answer(self, text: str, pcm: bytes) -> None:
        self._event_id += 1
        self._down("agent_response", agent_response_event={"agent_response": text, "event_id": self._event_id})
        converted = Resampler(SPEECH_RATE_HZ, self._rate_hz).push(pcm)
        for each in pieces(pcmu_encode(converted) if self._is_mulaw else converted, self._piece_bytes):
            self._audio(each)

    @property
    def _piece_bytes(self) -> int:
        return self._rate_hz * _PIECE_MS // 1000 * (1 if self._is_mulaw else 2)

    def _audio(self, data: bytes) -> None:
        event = {"audio_base_64": base64.b64encode(data).decode(), "event_id": self._event_id}
        self._down("audio", audio_event=event)

    async def _call(self, name: str, arguments: dict[str, str]) -> str:
        self._called += 1
        call_id = f"call-{self._called}"
        self._calls[call_id] = asyncio.get_running_loop().create_future()
        call = {"tool_name": name, "tool_call_id": call_id, "parameters": arguments, "event_id": self._event_id}
        self._down("client_tool_call", client_tool_call=call)
        return await self._calls[call_id]

    def _down(self, kind: str, **event: Json) -> None:
        self.send({"type": kind, **event})


def check(value: object, definition: str) -> None:
    """Hold a message to a definition of the schema; raises `Violation` that names the first fault."""
    fault = _fault(value, _DEFINITIONS[definition], "")
    if fault:
        raise Violation(fault)


def _fault(value: Any, schema: Json, path: str) -> str:
    """Return what is wrong, empty for nothing: the part of JSON Schema that the vendor's types need."""
    unknown = set(schema) - {"$ref", "anyOf", "const", "enum", "type", "properties", "required", "items"}
    if unknown - {"additionalProperties"}:
        raise NotImplementedError(f"schema keywords {unknown}")
    if "$ref" in schema:
        return _fault(value, _DEFINITIONS[schema["$ref"].rpartition("/")[2]], path)
    if "anyOf" in schema:
        faults = [_fault(value, each, path) for each in schema["anyOf"]]
        return "" if "" in faults else min(faults, key=lambda each: each.startswith("type "))
    if "const" in schema and value != schema["const"]:
        return f"{path or 'type '} is not {schema['const']}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{path} is none of {schema['enum']}"
    types = schema.get("type", list(_TYPES))
    if not any(_TYPES[each](value) for each in ([types] if isinstance(types, str) else types)):
        return f"{path} is no {types}"
    if isinstance(value, dict) and "properties" in schema:
        return _object_fault(value, schema, path)
    if isinstance(value, list):
        return next(filter(None, (_fault(each, schema["items"], f"{path}[]") for each in value)), "")
    return ""


def _object_fault(value: Json, schema: Json, path: str) -> str:
    properties = schema["properties"]
    kind = properties.get("type", {})
    if ("type" in value and not kind) or ("const" in kind and value.get("type") != kind["const"]):
        return f"type is not {kind.get('const')}"
    if missing := [key for key in schema.get("required", ()) if key not in value]:
        return f"{path or value.get('type', 'message')} lacks {', '.join(missing)}"
    if extra := [key for key in value if key not in properties]:
        return f"{path or value.get('type', 'message')}: unknown keys {', '.join(extra)}"
    return next(filter(None, (_fault(each, properties[key], f"{path}.{key}") for key, each in value.items())), "")

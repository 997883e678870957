"""Gemini Live (BidiGenerateContent): JSON over one WebSocket, held to google-genai's models, which forbid extras."""

from __future__ import annotations

import asyncio
import base64
import copy
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from google.genai import types as models
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request

from tests.agents.support.vendors.brain import EAR_RATE_HZ, TOOL, Brain, Line, Thoughts
from tests.agents.support.vendors.server import KEY, Json, VendorServer, VendorSession, Violation, header, pieces

SERVICE: Final = "google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent"
INPUT_TYPE: Final = f"audio/pcm;rate={EAR_RATE_HZ}"
OUTPUT_TYPE: Final = "audio/pcm;rate=24000"
_PIECE_BYTES: Final = 4_800
_OPAQUE: Final = ("response", "args", "parametersJsonSchema", "parameters_json_schema")
"""What holds the client's own keys."""


class GeminiSession(VendorSession):
    path = f"/ws/{SERVICE.format(version='v1beta')}"
    other_paths = (f"/ws/{SERVICE.format(version='v1')}",)
    resumes = True
    """Whether handles are given; without one the client replays the history."""

    def __init__(self, server: VendorServer, connection: ServerConnection) -> None:
        super().__init__(server, connection)
        self.setup: Json | None = None
        self.resumed: str | None = None
        self.is_finished = False
        self._waits_for_history = False
        self._brain: Brain | None = None
        self._thoughts = Thoughts(self._speech, self._words, self._answer)
        self._calls: dict[str, asyncio.Future[str]] = {}
        self._called = 0
        self._handles = 0

    @property
    def history(self) -> list[Line]:
        """What the vendor knows of the conversation."""
        return self._thoughts.history

    @classmethod
    def has_key(cls, request: Request) -> bool:
        in_query = parse_qs(urlsplit(request.path).query).get("key", [""])[0]
        return KEY in (header(request, "x-goog-api-key"), in_query)

    def check_up(self, message: Json) -> str:
        known = copy.deepcopy(message)
        setup = known.get("setup", {})
        if "realtimeInputConfig" in setup:  # which the SDK sends, and its model lacks
            models.RealtimeInputConfig.model_validate(setup.pop("realtimeInputConfig"))
        return _only_key(known, models.LiveClientMessage.model_validate(known).model_fields_set)

    def check_down(self, message: Json) -> str:
        return _only_key(message, models.LiveServerMessage.model_validate(message).model_fields_set)

    def opened(self) -> None:
        """The vendor says nothing before the client's setup."""

    def handle(self, name: str, message: Json) -> None:
        name, message = _camel(name), _camel_keys(message)
        if (name == "setup") != (self.setup is None):
            raise Violation(f"{name}: setup comes first, and once")
        match name:
            case "setup":
                self._set_up(message["setup"])
            case "clientContent":
                self._content(message["clientContent"])
            case "realtimeInput":
                self._realtime(message["realtimeInput"])
            case "toolResponse":
                for each in message["toolResponse"]["functionResponses"]:
                    waiting = self._calls.pop(each["id"], None)
                    if waiting is None:
                        raise Violation(f"toolResponse for no open call: {each['id']}")
                    waiting.set_result(str(each["response"].get("result", each["response"].get("output"))))

    def closed(self) -> None:
        if self._brain is not None:
            self._brain.close()

    def go_away(self, time_left: str = "1s") -> None:
        """Announce the end of the connection."""
        self.send({"goAway": {"timeLeft": time_left}})

    def _set_up(self, setup: Json) -> None:
        self.setup = setup
        if not setup.get("model", "").startswith("models/"):
            raise Violation(f"setup.model must begin with models/, got {setup.get('model')}")
        handle = setup.get("sessionResumption", {}).get("handle")
        if handle is not None and not self._resume(handle):
            return
        names = [
            function["name"] for tool in setup.get("tools", ()) for function in tool.get("functionDeclarations", ())
        ]
        self._thoughts.call_tool = self._call if TOOL in names else None
        self._brain = Brain(self.server.ears, self._thoughts)
        self._waits_for_history = setup.get("historyConfig", {}).get("initialHistoryInClientContent", False)
        self.send({"setupComplete": {}})
        self._offer_handle()

    def _resume(self, handle: str) -> bool:
        kept = self.server.handles.get(handle)
        if kept is None:
            self.start(self._refuse(1008, "session not found"))
            return False
        session: GeminiSession = kept
        if session.is_open:
            self.server.violations.append("resumed beside the old socket")
            self.start(self._refuse(1011, "the session is in use"))
            return False
        self.resumed = handle
        self.history.extend(session.history)
        return True

    async def _refuse(self, code: int, reason: str) -> None:
        await self.connection.close(code, reason)

    def _content(self, content: Json) -> None:
        for turn in content.get("turns", ()):
            role = "user" if turn["role"] == "user" else "assistant"
            self.history.append(Line(role, " ".join(part["text"] for part in turn["parts"])))
        if not content.get("turnComplete"):
            return
        if self._waits_for_history:
            self._waits_for_history = False
        elif self._brain is not None and self.history and self.history[-1].role == "user":
            self._brain.ask(self.history.pop().text)

    def _realtime(self, content: Json) -> None:
        if self._waits_for_history or self._brain is None:
            raise Violation("realtimeInput before setupComplete and the initial history")
        if "text" in content:
            self._brain.ask(content["text"])
        if "audio" in content:
            if content["audio"]["mimeType"] != INPUT_TYPE:
                raise Violation(f"audio is {content['audio']['mimeType']}, not {INPUT_TYPE}")
            text = content["audio"]["data"]
            data = base64.b64decode(text, b"-_" if _is_url_safe(text) else None, validate=True)
            self.audio_bytes += len(data)
            self._brain.hear(data)

    def _speech(self, is_interruption: bool) -> None:
        if is_interruption:
            self.send({"serverContent": {"interrupted": True}})
            self.send({"serverContent": {"turnComplete": True}})

    def _words(self, text: str) -> None:
        for word in text.split():
            self.send({"serverContent": {"inputTranscription": {"text": f" {word}"}}})

    def _answer(self, text: str, pcm: bytes) -> None:
        words = text.split(" ")
        audio = pieces(pcm, _PIECE_BYTES)
        for index in range(max(len(words), len(audio))):
            if index < len(audio):
                data = base64.b64encode(audio[index]).decode()
                part = {"inlineData": {"data": data, "mimeType": OUTPUT_TYPE}}
                self.send({"serverContent": {"modelTurn": {"parts": [part]}}})
            if index < len(words):
                word = words[index] if index == 0 else f" {words[index]}"
                self.send({"serverContent": {"outputTranscription": {"text": word}}})
        self.send({"serverContent": {"generationComplete": True}})
        self.send({"serverContent": {"turnComplete": True}})
        self._offer_handle()

    def _offer_handle(self, *, is_resumable: bool = True) -> None:
        if not self.resumes or "sessionResumption" not in (self.setup or {}):
            return
        if not is_resumable:
            self.send({"sessionResumptionUpdate": {"resumable": False}})
            return
        self._handles += 1
        handle = f"handle-{len(self.server.sessions)}-{self._handles}"
        self.server.handles[handle] = self
        self.send({"sessionResumptionUpdate": {"newHandle": handle, "resumable": True}})

    async def _call(self, name: str, arguments: dict[str, str]) -> str:
        self._called += 1
        call_id = f"call-{self._called}"
        self._calls[call_id] = asyncio.get_running_loop().create_future()
        self._offer_handle(is_resumable=False)
        self.send({"toolCall": {"functionCalls": [{"id": call_id, "name": name, "args": arguments}]}})
        return await self._calls[call_id]


def _is_url_safe(text: str) -> bool:
    """The vendor takes both alphabets of base64; its own client sends that of URLs."""
    return "-" in text or "_" in text


def _camel(name: str) -> str:
    """The vendor takes `snake_case`, which its own client sends in part, and `camelCase`."""
    first, *rest = name.split("_")
    return first + "".join(each.capitalize() for each in rest)


def _camel_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel(key): each if key in _OPAQUE else _camel_keys(each) for key, each in value.items()}
    return [_camel_keys(each) for each in value] if isinstance(value, list) else value


def _only_key(message: Json, fields: set[str]) -> str:
    if len(fields) != 1:
        raise Violation(f"a message has one field, got {sorted(fields)}")
    return next(iter(message))

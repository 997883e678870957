"""The agent named "gpt-live": OpenAI's GPT-Live over a WebSocket, which listens and speaks at the same time.

The vendor reports no turns, takes no interruption and truncates nothing: it stops speaking by itself. Its audio comes
at the pace of playback, silence included; here silence is left out, and turns are cut where transcripts pause.
"""

from __future__ import annotations

import itertools
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import msgspec
import numpy as np
from pydantic import BaseModel, Field

from voice_gateway.agents.bridges.bridge.agent import BridgeAgent, BridgeSettings
from voice_gateway.agents.bridges.bridge.typed_events import EventDecoder
from voice_gateway.agents.bridges.bridge.vendor import (
    Answered,
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
    Vendor,
    VendorEvent,
    VendorFailed,
    VendorSession,
    Words,
)
from voice_gateway.agents.bridges.bridge.wording import SAY_EXACTLY
from voicelink.audio.codecs.g711 import pcmu_decode

_NAME: Final = "GPT-Live"
_URL: Final = "wss://api.openai.com/v1"
_PCM_HZ, _PCMU_HZ = 24_000, 8_000
_MOST_HISTORY: Final = 128
_MOST_HISTORY_CHARACTERS: Final = 20_000
"""The vendor takes 8,192 tokens."""
_SOUND: Final = 60
"""Louder than this is speech: the highest absolute sample of a chunk."""
_ITEM_GAP_MS: Final = 600
_TURN_GAP_MS: Final = 800
_LOOKBACK_MS: Final = 4_000
_HOPELESS: Final = {
    "invalid_api_key": "refused the key",
    "model_not_found": "does not know the model",
    "invalid_model": "does not know the model",
    "insufficient_quota": "has no quota left for this key",
}
_ANSWER: Final = "Answer the caller's last words now: the connection was lost before the answer was heard."
_KEY: Final = "The caller pressed this key of the telephone: "
_TYPED: Final = "The caller typed this. Answer it now:\n\n"
_TYPED_PART: Final = "The beginning of a text that the caller types, whose end follows. Do not answer yet:\n\n"
_MOST_CHARACTERS: Final = 400
"""Of a text in one message: the vendor takes 500 tokens, of which one may be a single character."""


class GPTLiveSettings(BridgeSettings):
    """`audio` is `pcmu` for telephones, whose audio then passes through untouched, or `pcm` (24 kHz).

    With `tools`, the vendor delegates to `delegation_model`, which calls them; `delegation_instructions` are for it.
    """

    model: str = Field(default="gpt-live-1.1", min_length=1)
    voice: str = "marin"
    audio: Literal["pcm", "pcmu"] = "pcm"
    delegation_model: str = "gpt-5.1"
    delegation_instructions: str = ""


class GPTLiveAgent(BridgeAgent):
    """Callers talk with a GPT-Live model. The key is in `OPENAI_API_KEY` or `api_key_file`."""

    settings_model: ClassVar[type[BaseModel] | None] = GPTLiveSettings

    def __init__(self, settings: GPTLiveSettings) -> None:
        super().__init__(GPTLive(settings), settings)


class GPTLive(Vendor):
    name = _NAME
    key_variable = "OPENAI_API_KEY"
    lookback_ms = _LOOKBACK_MS

    def __init__(self, settings: GPTLiveSettings, wall_clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._wall_clock = wall_clock
        self.speak_in(settings.audio, _PCM_HZ, _PCM_HZ)

    def target(self, key: str) -> Target:
        base = (self._settings.base_url or _URL).rstrip("/")
        return Target(f"{base}/live/sessions", {"Authorization": f"Bearer {key}"})

    def session(self, tools: Sequence[Mapping[str, Any]]) -> VendorSession:
        return GPTLiveSession(self._settings, tools, self._wall_clock)


class _Resource(msgspec.Struct, frozen=True):
    expires_at: int


class _Started(msgspec.Struct, frozen=True):
    session: _Resource


class _Audio(msgspec.Struct, frozen=True):
    delta: str


class _Transcript(msgspec.Struct, frozen=True):
    delta: str
    start_ms: int
    end_ms: int


class _Item(msgspec.Struct, frozen=True):
    type: str = ""
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class _Nested(msgspec.Struct, frozen=True):
    type: str
    item: _Item | None = None


class _ResponseEvent(msgspec.Struct, frozen=True):
    event: _Nested


class _Closed(msgspec.Struct, frozen=True):
    reason: str


class _Fault(msgspec.Struct, frozen=True):
    code: str
    type: str = ""
    param: str | None = None


class _Error(msgspec.Struct, frozen=True):
    error: _Fault


_EVENTS: Final = EventDecoder(
    {
        "session.started": _Started,
        "session.output_audio.delta": _Audio,
        "session.output_transcript.delta": _Transcript,
        "session.input_transcript.delta": _Transcript,
        "response.event": _ResponseEvent,
        "session.closed": _Closed,
        "error": _Error,
    }
)


class GPTLiveSession(VendorSession):
    """One Live session. An item here is speech between two pauses."""

    def __init__(
        self, settings: GPTLiveSettings, tools: Sequence[Mapping[str, Any]], wall_clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._tools = [{"type": "function", **tool} for tool in tools]
        self._wall_clock = wall_clock
        self._is_pcmu = settings.audio == "pcmu"
        self._bytes_per_ms = _PCMU_HZ / 1000 if self._is_pcmu else _PCM_HZ * 2 / 1000
        self._commands = itertools.count(1)
        self._items = itertools.count(1)
        self._position_ms = 0.0
        self._is_started = False
        self._words = ""
        self._words_end_ms = 0
        self._item = ""
        """What is being said; empty for silence."""
        self._text = ""
        """Of the item, or of the one that will begin."""
        self._silence = bytearray()
        self._is_saying = False
        self._calls: set[str] = set()

    def opened(self, history: Sequence[Said]) -> list[Message]:
        settings = self._settings
        audio_format = (
            {"type": "audio/pcmu", "rate": _PCMU_HZ} if self._is_pcmu else {"type": "audio/pcm", "rate": _PCM_HZ}
        )
        session: dict[str, Any] = {
            "model": settings.model,
            "audio": {"format": audio_format, "output": {"voice": settings.voice}},
        }
        if settings.instructions:
            session["instructions"] = settings.instructions
        if known := _initial(history):
            session["input"] = known
        if self._tools:
            responses: dict[str, Any] = {"model": settings.delegation_model, "tools": self._tools}
            if settings.delegation_instructions:
                responses["instructions"] = settings.delegation_instructions
            session["delegation"] = {"type": "responses", "responses": responses}
        return [self._command("session.start", session=session)]

    def hear(self, audio: bytes) -> list[Message]:
        self._position_ms += len(audio) / self._bytes_per_ms
        return [self._command("session.input_audio.append", audio=b64encode(audio).decode())]

    def answer(self) -> list[Message]:
        return [self._commentary(_ANSWER)]

    def say(self, text: str, *, is_in_history: bool) -> list[Message]:
        """Ask for these words; the model need not keep to them."""
        self._is_saying = True
        return [self._commentary(SAY_EXACTLY + text)]

    def read(self, text: str) -> list[Message]:
        """Give the text to the model that calls tools, as a message of the user; without tools, as context to speak of.

        The vendor's voice model takes no message of the user. What it still says of an earlier answer cannot be
        distinguished from the answer to this.
        """
        self._item, self._text, self._is_saying = "", "", False
        self._silence.clear()
        if self._tools:
            content = [{"type": "input_text", "text": text}]
            item = {"type": "message", "role": "user", "content": content}
            return [self._command("response.item.create", item=item), self._command("response.create")]
        parts = [text[start : start + _MOST_CHARACTERS] for start in range(0, len(text), _MOST_CHARACTERS)]
        before = [
            self._command("session.thinking.append", content=_TYPED_PART + part, delegation_id=None)
            for part in parts[:-1]
        ]
        return [*before, self._commentary(_TYPED + parts[-1])]

    def press(self, digit: str) -> list[Message]:
        return [self._commentary(_KEY + digit)]

    def tool_returned(self, call_id: str, output: str) -> list[Message]:
        self._calls.discard(call_id)
        item = {"type": "function_call_output", "call_id": call_id, "output": output}
        returned: list[Message] = [self._command("response.item.create", item=item)]
        return returned if self._calls else [*returned, self._command("response.create")]

    def receive(self, message: Message) -> list[VendorEvent]:
        event = _EVENTS.decode(message)
        return [] if event is None else self._received(*event)

    def _received(self, kind: str, event: Any) -> list[VendorEvent]:
        match event:
            case _Started(session):
                self._is_started = True
                return [Ready(max(1.0, session.expires_at - self._wall_clock()))]
            case _Audio(delta):
                return [*self._turn_if_over(), *self._audio(b64decode(delta, validate=True))]
            case _Transcript(delta, _, end_ms) if kind == "session.input_transcript.delta":
                self._words += delta
                self._words_end_ms = max(self._words_end_ms, end_ms)
                return [PartialWords(self._words.strip())]
            case _Transcript(delta):
                self._text += delta
                turn = self._turn()
                return [*turn, ItemText(self._item, self._text.strip())] if self._item else turn
            case _ResponseEvent(nested):
                return self._nested(nested)
            case _Closed(reason):
                if reason == "content":
                    return [VendorFailed(f"{_NAME} ended the session because of its content")]
                return [SessionLost(reason)]
            case _Error(error):
                return self._error(error)
        return []

    def _turn_if_over(self) -> list[VendorEvent]:
        return self._turn() if self._position_ms - self._words_end_ms >= _TURN_GAP_MS else []

    def _turn(self) -> list[VendorEvent]:
        """End the caller's turn, where there are words."""
        words, self._words = self._words.strip(), ""
        return [Words(words, min(self._words_end_ms, int(self._position_ms)))] if words else []

    def _audio(self, audio: bytes) -> list[VendorEvent]:
        samples = np.frombuffer(pcmu_decode(audio) if self._is_pcmu else audio, "<i2")
        if len(samples) and int(np.abs(samples.astype(np.int32)).max()) > _SOUND:
            events: list[VendorEvent] = []
            if not self._item:
                self._item = f"speech-{next(self._items)}"
                events += self._turn()
                if self._text:
                    events.append(ItemText(self._item, self._text.strip()))
            said, self._silence = bytes(self._silence) + audio, bytearray()
            return [*events, ItemAudio(self._item, said, is_verbatim=self._is_saying)]
        if not self._item:
            return []
        self._silence += audio
        if len(self._silence) < _ITEM_GAP_MS * self._bytes_per_ms:
            return []
        item, self._item, self._text = self._item, "", ""
        self._silence.clear()
        is_saying, self._is_saying = self._is_saying, False
        return [ItemEnded(item)] if self._calls else [ItemEnded(item), Answered(is_saying)]

    def _nested(self, nested: _Nested) -> list[VendorEvent]:
        """Take an event of the model that the session delegates to: its tools are ours."""
        item = nested.item
        if nested.type != "response.output_item.done" or item is None or item.type != "function_call":
            return []
        self._calls.add(item.call_id)
        return [*self._turn(), ToolRequested(item.call_id, item.name, item.arguments)]

    def _error(self, fault: _Fault) -> list[VendorEvent]:
        if fault.code in _HOPELESS:
            return [VendorFailed(f"{_NAME} {_HOPELESS[fault.code]}")]
        if not self._is_started:
            return [VendorFailed(f"{_NAME} refused the settings: {fault.code} in {fault.param or 'session'}")]
        return [SessionLost(fault.code)] if fault.type == "server_error" else []

    def _commentary(self, text: str) -> Message:
        return self._command("session.commentary.append", content=text, delegation_id=None)

    def _command(self, kind: str, **fields: object) -> Message:
        return msgspec.json.encode({"type": kind, "event_id": f"command-{next(self._commands)}", **fields}).decode()


def _initial(history: Sequence[Said]) -> list[dict[str, Any]]:
    """The newest lines that the vendor takes."""
    known: list[dict[str, Any]] = []
    left = _MOST_HISTORY_CHARACTERS
    for line in reversed(history[-_MOST_HISTORY:]):
        left -= len(line.text)
        if left < 0:
            break
        role, kind = ("user", "input_text") if line.is_caller else ("assistant", "output_text")
        known.append({"type": "message", "role": role, "content": [{"type": kind, "text": line.text}]})
    return known[::-1]

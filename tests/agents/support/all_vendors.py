"""The five vendors behind one interface, for what every bridge must do alike."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.agents.support import gpt_live_server, openai_realtime_server
from tests.agents.support.vendor_program import EarsRecogniser
from tests.agents.support.vendors import server as vendors
from tests.agents.support.vendors.brain import opened_ears
from tests.agents.support.vendors.deepgram import DeepgramSession
from tests.agents.support.vendors.elevenlabs import AGENT_ID, ElevenLabsSession
from tests.agents.support.vendors.gemini import GeminiSession
from voice_gateway.agents.bridges.bridge.agent import BridgeAgent, BridgeSettings
from voice_gateway.agents.bridges.deepgram import DeepgramAgent, DeepgramSettings
from voice_gateway.agents.bridges.elevenlabs import ElevenLabsAgent, ElevenLabsSettings
from voice_gateway.agents.bridges.gemini import GeminiAgent, GeminiSettings
from voice_gateway.agents.bridges.gpt_live import GPTLiveAgent, GPTLiveSettings
from voice_gateway.agents.bridges.openai_realtime import OpenAIRealtimeAgent, OpenAIRealtimeSettings


@cache
def apology_wav() -> Path:
    """A recording, which is quicker than the offline voice."""
    path = Path(mkdtemp()) / "apology.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\x00\x10" * 1_600)
    return path


@dataclass(frozen=True, eq=False)
class Kind:
    """A vendor: how its bridge is made, and `typed`, the messages by which it takes a typed turn, the last to answer.

    `is_echoing` servers answer "You said: ...", the others count the caller's sentences.
    """

    name: str
    agent: type[BridgeAgent]
    settings: type[BridgeSettings]
    typed: tuple[str, ...]
    needed: dict[str, Any] = field(default_factory=dict)
    session: type[vendors.VendorSession] | None = None
    takes_history: bool = True

    @property
    def key_variable(self) -> str:
        return "OPENAI_API_KEY" if self.session is None else f"{self.name.upper()}_API_KEY"

    @property
    def key(self) -> str:
        return openai_realtime_server.KEY if self.session is None else vendors.KEY

    def answer(self, text: str, number: int = 1) -> str:
        return f"You said: {text}" if self.session is None else f"Sentence {number}: {text}."


OPENAI = Kind(
    "openai", OpenAIRealtimeAgent, OpenAIRealtimeSettings, ("up conversation.item.create", "up response.create")
)
GPT_LIVE = Kind("gpt-live", GPTLiveAgent, GPTLiveSettings, ("up session.commentary.append",))
DEEPGRAM = Kind("deepgram", DeepgramAgent, DeepgramSettings, ("up InjectUserMessage",), session=DeepgramSession)
ELEVENLABS = Kind(
    "elevenlabs",
    ElevenLabsAgent,
    ElevenLabsSettings,
    ("up user_message",),
    {"agent_id": AGENT_ID},
    ElevenLabsSession,
    takes_history=False,
)
GEMINI = Kind("gemini", GeminiAgent, GeminiSettings, ("up realtimeInput",), {"model": "gemini-live"}, GeminiSession)
KINDS = (OPENAI, GPT_LIVE, DEEPGRAM, ELEVENLABS, GEMINI)


@dataclass
class LocalVendor:
    """A server of this vendor that runs."""

    kind: Kind
    server: Any

    @property
    def sessions(self) -> list[Any]:
        found: list[Any] = self.server.sessions
        return found

    def agent(self, **given: Any) -> BridgeAgent:
        """Return a bridge to it."""
        url = self.server.http_url if self.kind is ELEVENLABS else self.server.url
        settings = {"base_url": url, "apology": "Sorry.", "apology_wav": apology_wav(), **self.kind.needed, **given}
        agent: Callable[[Any], BridgeAgent] = self.kind.agent
        return agent(self.kind.settings.model_validate(settings))

    def cut(self, cut: Callable[[str], bool]) -> None:
        """End a connection at a message of the client; see `Misbehaviour`."""
        if self.kind.session is None:
            self.server.cut = cut
        else:
            self.server.misbehaviour.cut = cut

    def is_up(self, number: int = 0) -> bool:
        """Whether this session was configured."""
        return len(self.sessions) > number and bool(self._received(self.sessions[number]))

    def asked(self, number: int = -1) -> list[str]:
        """Return what the session knows of the caller's words, those of its history included."""
        session = self.sessions[number]
        if self.kind is OPENAI:
            return [each.text for each in session.items if each.role == "user"]
        if self.kind is GPT_LIVE:
            return [each.text for each in session.known if each.role == "user"]
        known = session.thoughts.history if self.kind is ELEVENLABS else session.history
        return [each.text for each in known if each.role == "user"]

    async def send(self, raw: str | bytes, number: int = -1) -> None:
        """Send a raw message as the vendor."""
        await self.sessions[number].connection.send(raw)

    def _received(self, session: Any) -> list[Any]:
        return session.commands if self.kind is OPENAI else session.received


@asynccontextmanager
async def local_vendor(kind: Kind, **behaviour: Any) -> AsyncIterator[LocalVendor]:
    """Serve the vendor; at the end it must have had nothing to complain about."""
    if kind is OPENAI:
        async with openai_realtime_server.realtime_server(**behaviour) as realtime:
            yield LocalVendor(kind, realtime)
    elif kind is GPT_LIVE:
        async with gpt_live_server.live_server(**behaviour) as live:
            yield LocalVendor(kind, live)
    else:
        assert kind.session is not None
        async with opened_ears(EarsRecogniser()) as ears, vendors.vendor_server(ears, kind.session) as server:
            yield LocalVendor(kind, server)
        assert server.violations == []

"""How late frames are answered in 50 calls of a host, while a call blocks that host's event loop or another's."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bench.figures import summary
from bench.hosts.cell import PROGRAM, ROOT
from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    Conversation,
    PartialTranscript,
    SessionView,
    UserAudio,
)
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.worker.agent import HostedAgent, HostedAgentOptions

CALLS: Final = 50
FRAME_S: Final = 0.02
_SILENCE: Final = bytes(640)
_START_TIMEOUT_S: Final = 30.0


class Answering(Agent):
    """Answers each frame with its number; a key blocks the event loop for as many seconds."""

    name = "answering"

    def converse(self, emit: Callable[[AgentEvent], None], state: Mapping[str, Any] | None) -> Conversation:
        return _Answers(emit)


class _Answers(Conversation):
    def hear(self, audio: UserAudio) -> None:
        super().hear(audio)
        self.emit(PartialTranscript(str(audio.sequence)))

    def pressed(self, digit: str) -> None:
        time.sleep(int(digit))  # what is measured: a loop that stands still


class _Frames:
    """One call: gives a frame every 20 ms, and notes how long each took to be answered."""

    def __init__(self, agent: Agent, name: str) -> None:
        self.delays_ms: list[float] = []
        self._sent: dict[int, float] = {}
        self._loop = asyncio.get_running_loop()
        self.conversation = agent.converse(self._take, None)
        self.conversation.opened(_view(name))

    def give(self, sequence: int) -> None:
        self._sent[sequence] = self._loop.time()
        self.conversation.hear(UserAudio(sequence, _SILENCE))

    def _take(self, event: AgentEvent) -> None:
        if isinstance(event, PartialTranscript):
            sent_at = self._sent.pop(int(event.text), None)
            if sent_at is not None:
                self.delays_ms.append((self._loop.time() - sent_at) * 1000)


async def blocked(block_s: float) -> dict[str, Any]:
    """50 calls at one host while the call of another host blocks its loop, and while one of their own host does."""
    results: dict[str, Any] = {}
    for name, victim in (("no host blocked", None), ("another host blocked", 1), ("their own host blocked", 0)):
        with tempfile.TemporaryDirectory(prefix="hosts-") as folder:
            paths = [Path(folder) / f"agents-{index}.sock" for index in range(2)]
            processes = [await _host("bench.hosts.blocked:Answering", path) for path in paths]
            agents = [_hosted(path) for path in paths]
            try:
                for agent in agents:
                    await agent.open()
                delays_ms = await _frames(agents[0], None if victim is None else agents[victim], block_s)
            finally:
                for agent in agents:
                    await agent.close()
                for process in processes:
                    process.kill()
                    await process.wait()
        results[name] = summary(delays_ms)
        print(f"{CALLS} calls, {name}: ms {results[name]}", flush=True)
    return results


async def _frames(agent: Agent, victim: Agent | None, block_s: float) -> list[float]:
    calls = [_Frames(agent, f"call-{number}") for number in range(CALLS)]
    blocking = None if victim is None else _Frames(victim, "blocking")
    await asyncio.sleep(1.0)
    loop = asyncio.get_running_loop()
    began, count = loop.time(), round((block_s + 1) / FRAME_S)
    for sequence in range(count):
        if sequence == round(0.5 / FRAME_S) and blocking is not None:
            blocking.conversation.pressed(f"{block_s:.0f}")
        for number, call in enumerate(calls):  # spread over the 20 ms, as calls are
            due = began + (sequence + number / CALLS) * FRAME_S
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            call.give(sequence)
    await asyncio.sleep(1.0)
    for call in (*calls, *([] if blocking is None else [blocking])):
        call.conversation.close()
    return [delay for call in calls for delay in call.delays_ms]


def _hosted(path: Path) -> HostedAgent:
    return HostedAgent(HostedAgentOptions([(HostAddress(path), HostCredentials())], move_after_s=60))


async def _host(agent: str, path: Path) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *("agent", "run", agent, "--listen", f"unix:{path}", "--log-level", "error"),
        cwd=ROOT,
        stderr=sys.stderr,
    )
    async with asyncio.timeout(_START_TIMEOUT_S):
        while not path.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.05)
    return process


def _view(name: str) -> SessionView:
    return SessionView(name, 0, {}, tuple, lambda: True)

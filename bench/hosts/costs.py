"""What an agent host costs: delay, beside calls of a blocked host and beside an agent in the worker's process."""

from __future__ import annotations

import asyncio
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.hosts.cell import PROGRAM, ROOT
from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    Conversation,
    PartialTranscript,
    ReplyAudio,
    SessionView,
    UserAudio,
)
from voice_gateway.agents.echo import EchoAgent
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.worker.agent import HostedAgent, HostedAgentOptions

CALLS: Final = 50
BLOCK_S: Final = 5.0
FRAME_S: Final = 0.02
TURNS: Final = 300
_SILENCE: Final = bytes(640)
_START_TIMEOUT_S: Final = 30.0


class Answering(Agent):
    """Answers each frame with its number; the key 5 blocks the event loop for 5 s."""

    name = "answering"

    def converse(self, emit: Callable[[AgentEvent], None], state: Mapping[str, Any] | None) -> Conversation:
        return _Answers(emit)


class _Answers(Conversation):
    def hear(self, audio: UserAudio) -> None:
        super().hear(audio)
        self.emit(PartialTranscript(str(audio.sequence)))

    def pressed(self, digit: str) -> None:
        time.sleep(BLOCK_S)  # what is measured: a loop that stands still


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


async def blocked() -> dict[str, Any]:
    """50 calls at one host while the call of another host blocks its loop, and while one of their own host does."""
    results: dict[str, Any] = {}
    for name, victim in (("no host blocked", None), ("another host blocked", 1), ("their own host blocked", 0)):
        with tempfile.TemporaryDirectory(prefix="hosts-") as folder:
            paths = [Path(folder) / f"agents-{index}.sock" for index in range(2)]
            processes = [await _host("bench.hosts.costs:Answering", path) for path in paths]
            agents = [_hosted(path) for path in paths]
            try:
                for agent in agents:
                    await agent.open()
                delays_ms = await _frames(agents[0], None if victim is None else agents[victim])
            finally:
                for agent in agents:
                    await agent.close()
                for process in processes:
                    process.kill()
                    await process.wait()
        results[name] = _figures(delays_ms)
        print(f"{CALLS} calls, {name}: a frame's way to the agent and back, ms: {results[name]}", flush=True)
    return results


async def _frames(agent: Agent, victim: Agent | None) -> list[float]:
    calls = [_Frames(agent, f"call-{number}") for number in range(CALLS)]
    blocking = None if victim is None else _Frames(victim, "blocking")
    await asyncio.sleep(1.0)
    loop = asyncio.get_running_loop()
    began, count = loop.time(), round((BLOCK_S + 1) / FRAME_S)
    for sequence in range(count):
        if sequence == round(0.5 / FRAME_S) and blocking is not None:
            blocking.conversation.pressed("5")
        for number, call in enumerate(calls):  # spread over the 20 ms, as calls are
            due = began + (sequence + number / CALLS) * FRAME_S
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            call.give(sequence)
    await asyncio.sleep(1.0)
    for call in (*calls, *([] if blocking is None else [blocking])):
        call.conversation.close()
    return [delay for call in calls for delay in call.delays_ms]


async def turns() -> dict[str, Any]:
    """The time from the frame that ends a turn to the first audio of the answer, with the echo here and in a host."""
    pause = await _pause_frames()
    results: dict[str, Any] = {"in the worker": _figures(await _turns(EchoAgent(), pause))}
    with tempfile.TemporaryDirectory(prefix="hosts-") as folder:
        path = Path(folder) / "agents.sock"
        process = await _host("echo", path)
        try:
            results["in a host"] = _figures(await _turns(_hosted(path), pause))
        finally:
            process.kill()
            await process.wait()
    for name, figures in results.items():
        print(f"the echo {name}: from the end of a turn to its answer, ms: {figures}", flush=True)
    return results


async def _pause_frames() -> int:
    """How many frames of silence end a turn of the echo."""
    has_ended: list[AgentEvent] = []
    conversation = EchoAgent().converse(has_ended.append, None)
    conversation.opened(_view("pause"))
    for sequence, frame in enumerate(_tone()):
        conversation.hear(UserAudio(sequence, frame))
    pause = 0
    while not any(isinstance(event, ReplyAudio) for event in has_ended):
        pause += 1
        conversation.hear(UserAudio(100 + pause, _SILENCE))
    return pause


def _tone() -> list[bytes]:
    times = np.arange(320 * 30) / 16_000
    tone = (8_000 * np.sin(2 * math.pi * 300 * times)).astype("<i2").tobytes()
    return [tone[start : start + 640] for start in range(0, len(tone), 640)]


async def _turns(agent: Agent, pause: int) -> list[float]:
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()
    delays_ms: list[float] = []
    given_at = 0.0

    def take(event: AgentEvent) -> None:
        if isinstance(event, ReplyAudio) and not answered.is_set():
            delays_ms.append((loop.time() - given_at) * 1000)
            answered.set()

    await agent.open()
    conversation = agent.converse(take, None)
    conversation.opened(_view("turns"))
    frames = [*_tone(), *[_SILENCE] * pause]
    sequence = 0
    try:
        for _ in range(TURNS):
            answered.clear()
            for frame in frames[:-1]:
                conversation.hear(UserAudio(sequence, frame))
                sequence += 1
            await asyncio.sleep(FRAME_S)  # the host has taken these
            given_at = loop.time()
            conversation.hear(UserAudio(sequence, frames[-1]))
            sequence += 1
            await asyncio.wait_for(answered.wait(), 5)
    finally:
        conversation.close()
        await agent.close()
    return delays_ms


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


def _figures(values_ms: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values_ms)
    return {
        "n": len(ordered),
        "median": round(statistics.median(ordered), 2),
        "p99": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 2),
        "max": round(ordered[-1], 2),
    }

"""Calls whose worker or vendor is killed at a chosen place of the caller's turn, and what each of them lost."""

from __future__ import annotations

import asyncio
import re
import wave
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any, Final

import numpy as np

from bench.agents.lane import Lane
from bench.agents.processes import ROOT
from bench.link import NatLink
from voice_client import AudioOptions, Security, VoiceClient

NOTHING: Final = "nothing"
MID_SPEECH: Final = "in mid-speech"
EFFECT: Final = "between effect and result"
_LEAD: Final = bytes(16_000)
_KILL_AFTER_S: Final = 2.0
_QUIET_S: Final = 0.8
"""An answer is over after so much silence."""
_CALL_TIMEOUT_S: Final = 90.0
_SILENCE: Final = bytes(32_000 * 90)
_AUDIBLE: Final = 500
_SENTENCE_END: Final = re.compile(r"(?<=[.?!]) ")


@dataclass(frozen=True, slots=True)
class Cell:
    """What is killed, "worker", "host" or "vendor", and where; `victim` is empty in an undisturbed call."""

    victim: str
    place: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call. `silence_ms` is the longest silence after the later of the kill and the end of the caller's speech."""

    words_lost: int
    transcript: tuple[tuple[str, str], ...]
    state: dict[str, Any]
    silence_ms: float | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """Calls at the same time, of which one kill met all."""

    outcomes: tuple[Outcome, ...]
    keys: tuple[str, ...]
    """The key of each effect of the tool."""
    violations: tuple[str, ...] = ()
    """What clients of the vendors did against the protocol."""


class Ear:
    """A sink that notes when sound was audible."""

    def __init__(self) -> None:
        self.audible_at: list[float] = []

    def play(self, at_s: float, pcm: bytes) -> None:
        """Note it."""
        if np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)).max(initial=0) > _AUDIBLE:
            self.audible_at.append(at_s)

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """Nothing is open."""

    def longest_silence_s(self, since: float) -> float | None:
        """Return the longest time without sound from then on to the last sound, `None` where no sound follows."""
        times = [since, *(at for at in self.audible_at if at > since)]
        return max((later - earlier for earlier, later in pairwise(times)), default=None)


@dataclass(slots=True)
class _Kill:
    """What the calls of one round share: they speak once all are connected, and the spare process is there."""

    killed_at: float | None = None
    connected: int = 0
    spoken: int = 0
    may_speak: asyncio.Event = field(default_factory=asyncio.Event)


def recording(name: str) -> bytes:
    """Return PCM16 at 16 kHz."""
    with wave.open(str(ROOT / "tests" / "audio" / f"{name}.wav")) as file:
        pcm: bytes = file.readframes(file.getnframes())
    return pcm


async def hold_calls(lane: Lane, cell: Cell, count: int) -> Round:
    """Hold so many calls at once, and kill what the cell says."""
    gate = lane.orders.with_name("orders.open")
    lane.orders.unlink(missing_ok=True)
    gate.unlink(missing_ok=True)
    if cell.place != EFFECT:
        gate.touch()
    kill, violations = _Kill(), Counter(lane.violations())
    async with NatLink(lane.workers[0].address, 0.0) as link:
        calls = [asyncio.create_task(_call(lane, link, kill)) for _ in range(count)]
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S / 2):
                while kill.connected < count:  # noqa: ASYNC110 - calls of this loop
                    await asyncio.sleep(0.01)
            if cell.victim == "host":
                await lane.reveal_spare()
            kill.may_speak.set()
            if cell.victim:
                await _reached(lane, cell, kill, count)
                kill.killed_at = asyncio.get_running_loop().time()
                await lane.kill(cell.victim, link)
            gate.touch()
        finally:
            outcomes = await asyncio.gather(*calls)
    return Round(tuple(outcomes), lane.keys(), tuple((Counter(lane.violations()) - violations).elements()))


async def _reached(lane: Lane, cell: Cell, kill: _Kill, count: int) -> None:
    async with asyncio.timeout(_CALL_TIMEOUT_S / 2):
        while kill.spoken < count:  # noqa: ASYNC110 - calls of this loop
            await asyncio.sleep(0.01)
        if cell.place == MID_SPEECH:
            await asyncio.sleep(_KILL_AFTER_S)
        else:
            while len(set(lane.keys())) < count:  # noqa: ASYNC110 - another process writes
                await asyncio.sleep(0.01)


async def _call(lane: Lane, link: NatLink, kill: _Kill) -> Outcome:
    loop = asyncio.get_running_loop()
    ear = Ear()
    speech = _LEAD + recording("slt_order")
    client = VoiceClient(
        f"https://127.0.0.1:{link.address[1]}/v1/voice",
        security=Security(ca_file=lane.folder / "ca.pem"),
        audio=AudioOptions(codec="pcm16", sinks=(ear,)),
    )
    error = ""
    said_at = loop.time()
    try:
        async with client as call:
            kill.connected += 1
            await kill.may_speak.wait()
            said_at = loop.time() + len(speech) / 32_000
            kill.spoken += 1
            speaking = asyncio.create_task(call.speak(speech + _SILENCE))
            try:
                async with asyncio.timeout(_CALL_TIMEOUT_S):
                    await _answered(call, ear, lane.way.answered)
            finally:
                speaking.cancel()
            await call.finish(_CALL_TIMEOUT_S)
    except Exception as failure:  # however a call fails, its words count as lost
        error = f"{type(failure).__name__}: {failure}"
        kill.connected, kill.spoken = kill.connected + 1, kill.spoken + 1
    silence_s = ear.longest_silence_s(max(said_at, kill.killed_at or 0.0))
    lines = [(line.role, line.text) for line in client.transcript]
    heard = " ".join(text for role, text in lines if role == "user")
    return Outcome(
        words_lost=words_lost(lane.way.words, heard),
        transcript=_merged(lines),
        state=dict(client.state),
        silence_ms=None if silence_s is None else silence_s * 1000,
        error=error,
    )


async def _answered(call: VoiceClient, ear: Ear, part: str) -> None:
    """Wait until an answer with this part was heard."""
    loop = asyncio.get_running_loop()
    while not any(part in line.text for line in call.transcript if line.role == "agent"):  # noqa: ASYNC110 - a call
        await asyncio.sleep(0.02)
    came_at = loop.time()
    while not ear.audible_at or not came_at - _QUIET_S < ear.audible_at[-1] < loop.time() - _QUIET_S:  # noqa: ASYNC110 - the clock decides
        await asyncio.sleep(0.02)


def words_lost(said: str, heard: str) -> int:
    """Count the words of `said` that `heard` does not have in their order."""
    expected, found = (re.findall(r"[a-z']+", text.lower()) for text in (said, heard))
    blocks = SequenceMatcher(None, expected, found, autojunk=False).get_matching_blocks()
    return len(expected) - sum(block.size for block in blocks)


def _merged(lines: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Join neighbouring lines of one role, and keep the agent's last sentence of each.

    Sentences come one by one or together, and a client keeps the last line that an agent says in a turn.
    """
    merged: list[tuple[str, str]] = []
    for role, text in lines:
        if merged and merged[-1][0] == role:
            merged[-1] = (role, f"{merged[-1][1]} {text}")
        else:
            merged.append((role, text))
    return tuple((role, _SENTENCE_END.split(text)[-1] if role == "agent" else text) for role, text in merged)

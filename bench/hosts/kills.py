"""Calls whose agent host is killed at one point of a turn, and what each of them lost."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from bench.hosts.cell import ROOT, Cell
from voice_client import VoiceClient

WORDS: Final = (("slt_total", "what's the total"), ("slt_done", "that's all"))
_PAUSE: Final = bytes(16_000 * 3)
_CALL_TIMEOUT_S: Final = 90.0
_ANSWER_TIMEOUT_S: Final = 25.0


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What the client of one call saw; `error` where the call failed."""

    words_lost: int = 0
    is_state_right: bool = True
    is_transcript_right: bool = True
    error: str = ""


@dataclass(frozen=True, slots=True)
class KillOutcome:
    """Calls that one kill met.

    `doubled` counts effects under more than one key a turn, `repeated` those under a key that was used before. `killed`
    is how many calls had reached the point. `gaps_ms` are from the end of the host until the next one has the call.
    """

    calls: tuple[CallOutcome, ...]
    doubled: int
    repeated: int
    killed: int
    gaps_ms: tuple[float, ...]

    @property
    def words_lost(self) -> int:
        """Return how many words the calls lost together."""
        return sum(each.words_lost for each in self.calls)


def recording(name: str) -> bytes:
    """Return PCM16 at 16 kHz."""
    with wave.open(str(ROOT / "tests" / "audio" / f"{name}.wav")) as file:
        pcm: bytes = file.readframes(file.getnframes())
    return pcm


async def hold_calls(cell: Cell, point: str, words: Sequence[tuple[str, str]] = WORDS, count: int = 1) -> KillOutcome:
    """Hold so many calls of a turn for each recording, in the first of which their host ends at `point`.

    Raises `TimeoutError` where a call does not begin.
    """
    for name in ("died", "opened", "effects", "die"):
        (cell.folder / name).unlink(missing_ok=True)
    greeted, may_speak = asyncio.Semaphore(0), asyncio.Event()
    calls = [asyncio.create_task(_call(cell, words, greeted, may_speak)) for _ in range(count)]
    try:
        async with asyncio.timeout(_CALL_TIMEOUT_S):
            for _ in calls:
                await greeted.acquire()
        if cell.hidden:
            await cell.reveal()
        (cell.folder / "die").write_text(f"{point} {count}")
        may_speak.set()
        outcomes = await asyncio.gather(*calls)
    finally:
        for task in calls:
            task.cancel()
    keys = [line[2] for line in cell.lines("effects")]
    died, opened = cell.lines("died"), cell.lines("opened")
    died_at = float(died[0][0]) if died else float("inf")
    return KillOutcome(
        calls=tuple(outcomes),
        doubled=max(0, len(set(keys)) - len(words) * count),
        repeated=len(keys) - len(set(keys)),
        killed=int(died[0][3]) if died else 0,
        gaps_ms=tuple((float(line[0]) - died_at) * 1000 for line in opened if float(line[0]) >= died_at),
    )


async def _call(
    cell: Cell, words: Sequence[tuple[str, str]], greeted: asyncio.Semaphore, may_speak: asyncio.Event
) -> CallOutcome:
    client = cell.caller()
    error = ""
    try:
        async with asyncio.timeout(_CALL_TIMEOUT_S), client as call:
            await call.listen(grace_s=_ANSWER_TIMEOUT_S)
            greeted.release()
            await may_speak.wait()
            for count, (name, _) in enumerate(words, 1):
                await call.speak(recording(name) + _PAUSE)
                with suppress(TimeoutError):  # it shows in the outcome
                    async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                        while sum(line.role == "agent" for line in call.transcript) <= count:  # noqa: ASYNC110 - a process
                            await asyncio.sleep(0.02)
                await call.listen()
            await call.finish()
    except Exception as failure:  # however a call fails, it is an outcome
        error = f"{type(failure).__name__}: {failure}"
        greeted.release()
    return _outcome(client, [text for _, text in words], error)


def _outcome(call: VoiceClient, said: Sequence[str], error: str) -> CallOutcome:
    expected = [("agent", "Hi!")]
    for count, text in enumerate(said, 1):
        expected += [("user", text), ("agent", f"That makes {count}. Anything else?")]
    transcript = [(line.role, line.text) for line in call.transcript]
    understood = " ".join(text for role, text in transcript if role == "user").split()
    return CallOutcome(
        words_lost=max(0, len(" ".join(said).split()) - len(understood)),
        is_state_right=dict(call.state) == {"items": list(said)},
        is_transcript_right=transcript == expected,
        error=error,
    )

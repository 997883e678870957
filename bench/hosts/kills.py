"""Kills the host of a call at a chosen point of a turn, and reports what the call lost."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.hosts.cell import ROOT, Cell

WORDS: Final = (("slt_total", "what's the total"), ("slt_done", "that's all"))
_PAUSE: Final = bytes(16_000 * 3)
_CALL_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class KillOutcome:
    """`gap_ms` is from the end of the host until the next one has the call; `reply_ms` from there to its next answer.

    `doubled` counts effects under more than one key a turn, `repeated` those under a key that was used before.
    """

    words_lost: int
    doubled: int
    repeated: int
    is_state_right: bool
    is_transcript_right: bool
    was_killed: bool
    gap_ms: float | None


def recording(name: str) -> bytes:
    """Return PCM16 at 16 kHz."""
    with wave.open(str(ROOT / "tests" / "audio" / f"{name}.wav")) as file:
        pcm: bytes = file.readframes(file.getnframes())
    return pcm


async def hold_call(cell: Cell, point: str, words: Sequence[tuple[str, str]] = WORDS) -> KillOutcome:
    """Hold one call of a turn for each recording, in the first of which its host ends at `point`, where given."""
    for name in ("died", "opened", "effects", "die"):
        (cell.folder / name).unlink(missing_ok=True)
    if point:
        (cell.folder / "die").write_text(point)
    async with asyncio.timeout(_CALL_TIMEOUT_S), cell.caller() as call:
        await call.listen()
        for count, (name, _) in enumerate(words, 1):
            await call.speak(recording(name) + _PAUSE)
            for _ in range(400):
                agents = [line for line in call.transcript if line.role == "agent"]
                if len(agents) > count:
                    break
                await asyncio.sleep(0.02)
            await call.listen()
        await call.finish()
        transcript = [(line.role, line.text) for line in call.transcript]
        state = dict(call.state)
    said = [text for _, text in words]
    expected = [("agent", "Hi!")]
    for count, text in enumerate(said, 1):
        expected += [("user", text), ("agent", f"That makes {count}. Anything else?")]
    understood = " ".join(text for role, text in transcript if role == "user").split()
    keys = [line[2] for line in cell.lines("effects")]
    died, opened = cell.lines("died"), cell.lines("opened")
    gap_ms = None
    if died:
        after = [float(line[0]) for line in opened if float(line[0]) >= float(died[0][0])]
        gap_ms = (after[0] - float(died[0][0])) * 1000 if after else None
    return KillOutcome(
        words_lost=max(0, len(" ".join(said).split()) - len(understood)),
        doubled=max(0, len(set(keys)) - len(said)),
        repeated=len(keys) - len(set(keys)),
        is_state_right=state == {"items": said},
        is_transcript_right=transcript == expected,
        was_killed=bool(died),
        gap_ms=gap_ms,
    )

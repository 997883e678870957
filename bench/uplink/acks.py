"""`python -m bench.uplink.acks`: what acknowledging seldom costs speech, beside acknowledging every packet.

Both sides acknowledge every third packet, or after 60 ms (`ConnectionOptions`): seldom enough that a lost packet might
be found later, and that a probe timeout is longer. The caller speaks in spurts of 1 s with pauses of 1 s between. The
sixth frame of a spurt is where voice activity detection finds a barge-in; the last one ends a turn, and nothing behind
it tells that it was lost. Calls are placed as in `bench.uplink`, on virtual time, with the same seeds for both.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final
from unittest import mock

from bench.figures import percentile, save, table
from bench.uplink import simulated
from bench.uplink.conditions import CONDITIONS, ONE_WAY_S, Condition
from voicelink.audio.frames import FRAME_S
from voicelink.quic import ConnectionOptions

POLICIES: Final[Mapping[str, tuple[int, float]]] = {"every packet": (1, 0.025), "every third": (3, 0.060)}
"""`ack_packets` and `ack_delay_s`: the base of the ratio, and the default."""
MODES: Final = ("one stream", "hybrid")
FRAMES_A_SPURT: Final = 50
PAUSE_S: Final = 1.0
ONSET_FRAMES: Final = 6
"""120 ms of voice, which a barge-in takes."""
_LOSSES: Final = 4
"""The first of the conditions: none, and 1, 2 and 5 % at random."""
Key = tuple[str, str, str]
"""Condition, mode and policy."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """Milliseconds beyond the link's delay: of all frames, of those where a barge-in is found, and of the last ones."""

    frames: tuple[float, ...] = ()
    onsets: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()

    def with_(self, other: Lateness) -> Lateness:
        """Both as one."""
        return Lateness(self.frames + other.frames, self.onsets + other.onsets, self.ends + other.ends)


class _Spurts(simulated.Call):
    is_live = True

    async def _speech(self) -> AsyncIterator[bytes]:
        index = 0
        async for frame in super()._speech():
            yield frame
            index += 1
            await asyncio.sleep(PAUSE_S if index % FRAMES_A_SPURT == 0 else FRAME_S)

    def lateness(self) -> Lateness:
        """Raises `ValueError` where a frame did not come, as no mode of these may lose one."""
        missing = [n for n in range(len(self._spoken_at)) if n not in self._received_at]
        if missing:
            raise ValueError(f"frames {missing[:5]} of {len(self._spoken_at)} did not arrive")
        late = [1000 * (self._received_at[n] - at - ONE_WAY_S) for n, at in enumerate(self._spoken_at)]
        return Lateness(
            tuple(late),
            tuple(late[ONSET_FRAMES - 1 :: FRAMES_A_SPURT]),
            tuple(late[FRAMES_A_SPURT - 1 :: FRAMES_A_SPURT]),
        )


def place_call(condition: Condition, mode: str, policy: str, seed: int, spurts: int) -> Lateness:
    """One call of so many spurts."""
    measured = _Spurts(condition, simulated.MODES[mode], spurts * FRAMES_A_SPURT)
    defaults = (*POLICIES[policy], *(ConnectionOptions.__init__.__defaults__ or ())[2:])
    with mock.patch.object(ConnectionOptions.__init__, "__defaults__", defaults):
        measured.place(seed, limit_s=spurts * (1.0 + PAUSE_S) + 120)
    return measured.lateness()


def as_table(results: Mapping[Key, Lateness]) -> str:
    """One row for each condition and mode: p99 with every third packet acknowledged, and its ratio to every packet."""
    base, usual = POLICIES
    rows: list[list[object]] = []
    for condition, mode, policy in results:
        if policy != usual:
            continue
        seldom, often = results[condition, mode, usual], results[condition, mode, base]
        row: list[object] = [condition, mode, len(seldom.frames)]
        for name in ("frames", "onsets", "ends"):
            late, beside = (getattr(each, name) for each in (seldom, often))
            row.append(f"{percentile(late, 50):.0f} / {percentile(late, 99):.0f}")
            row.append(f"{percentile(late, 99) / percentile(beside, 99):.2f}")
        rows.append(row)
    return table(["link", "way", "n", "frames, p50 / p99 ms", "ratio", "barge-in", "ratio", "turn end", "ratio"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spurts", type=int, default=60, help="of speech in each call")
    parser.add_argument("--seeds", type=int, default=4, help="calls for each link, way and policy")
    arguments = parser.parse_args()
    asked = [
        (condition, mode, policy, seed, arguments.spurts)
        for condition in CONDITIONS[:_LOSSES]
        for mode in MODES
        for policy in POLICIES
        for seed in range(1, arguments.seeds + 1)
    ]
    with multiprocessing.get_context("spawn").Pool(maxtasksperchild=8) as pool:
        calls = pool.starmap(place_call, asked, chunksize=1)
    results: dict[Key, Lateness] = {}
    for (condition, mode, policy, _, _), late in zip(asked, calls, strict=True):
        key = condition.name, mode, policy
        results[key] = results.get(key, Lateness()).with_(late)
    document = {
        " / ".join(key): {
            name: {f"p{percent}": round(percentile(getattr(late, name), percent), 1) for percent in (50, 99)}
            for name in ("frames", "onsets", "ends")
        }
        for key, late in results.items()
    }
    text = as_table(results)
    save("uplink_acks", {"seeds": arguments.seeds, "spurts": arguments.spurts, "lateness_ms": document}, text)


if __name__ == "__main__":
    main()

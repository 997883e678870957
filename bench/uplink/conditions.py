"""The links: 50 ms one way and up to 30 ms of jitter, with loss of several kinds, and one that is narrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from testbed.simnet.links import Burst, Profile

ONE_WAY_S: Final = 0.050
JITTER_S: Final = 0.030
FRAMES_LOST_AT_ONCE: Final = 5


@dataclass(frozen=True, slots=True)
class Condition:
    """A link in both directions; `blackouts` are (start, length) in seconds from the first frame."""

    name: str
    profile: Profile
    blackouts: tuple[tuple[float, float], ...] = ()


def _link(loss: float = 0.0, burst: Burst | None = None) -> Profile:
    return Profile(delay_s=ONE_WAY_S, jitter_s=JITTER_S, loss=loss, burst=burst)


_NARROW: Final = Profile(delay_s=ONE_WAY_S, jitter_s=JITTER_S, rate_bytes_s=8_000, queue_bytes=16_000)
"""Enough for a frame once, and not twice; its queue holds 2 s."""
CONDITIONS: Final = (
    Condition("no loss", _link()),
    Condition("1 % random", _link(0.01)),
    Condition("2 % random", _link(0.02)),
    Condition("5 % random", _link(0.05)),
    Condition("5 % in bursts of 5", _link(burst=Burst(enter=0.0105, length=FRAMES_LOST_AT_ONCE))),
    Condition("blackouts of 0.2 s", _link(), ((10.0, 0.2), (20.0, 0.2))),
    Condition("blackout of 2 s", _link(), ((15.0, 2.0),)),
    Condition("64 kbit/s", _NARROW),
)

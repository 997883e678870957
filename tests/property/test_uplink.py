"""Over any link, hybrid loses nothing, and deadline gives up only what is too old."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.uplink_link import UplinkOverLink, spoken
from voicelink.audio.frames import FRAME_S
from voicelink.wire import UplinkMode

ONE_WAY_S = 0.05


@dataclass(frozen=True)
class Climate:
    """Shares from 0 to 1 of datagrams lost (each way), late and doubled; `blackouts` are (start, length) in seconds."""

    seed: int
    loss_up: float
    loss_down: float
    late: float
    late_by_s: float
    doubled: float
    jitter_s: float
    blackouts: tuple[tuple[float, float], ...]
    worst_s: float

    def link_model(self, start: float):
        rng = random.Random(self.seed)

        def carry(now: float, is_up: bool) -> list[float]:
            elapsed = now - start
            is_calm = elapsed >= self.worst_s
            if not is_calm and any(begin <= elapsed < begin + length for begin, length in self.blackouts):
                return []
            if not is_calm and rng.random() < (self.loss_up if is_up else self.loss_down):
                return []
            delay_s = ONE_WAY_S + rng.uniform(0, self.jitter_s)
            delays = [delay_s + self.late_by_s if rng.random() < self.late else delay_s]
            return delays * 2 if rng.random() < self.doubled else delays

        return carry


def share(most: float) -> st.SearchStrategy[float]:
    return st.floats(0, most, allow_nan=False)


climates = st.builds(
    Climate,
    seed=st.integers(0, 1 << 32),
    loss_up=share(0.9),
    loss_down=share(0.9),
    late=share(0.5),
    late_by_s=share(0.3),
    doubled=share(0.5),
    jitter_s=share(0.05),
    blackouts=st.lists(st.tuples(share(2.0), share(1.5)), max_size=3).map(tuple),
    worst_s=st.just(4.0),
)
speech = st.lists(st.tuples(share(3.0), st.integers(1, 40)), min_size=1, max_size=3)
"""Utterances: (pause before, frames)."""


def talk(link: UplinkOverLink, utterances: list[tuple[float, int]]) -> int:
    at, total = link.now, 0
    for pause_s, frames in utterances:
        link.say(frames, at + pause_s)
        at, total = at + pause_s + frames * FRAME_S, total + frames
    return total


@settings(deadline=None, max_examples=80)
@given(climates, speech)
def test_hybrid_delivers_every_frame_once_and_in_order(climate: Climate, utterances: list[tuple[float, int]]) -> None:
    link = UplinkOverLink(climate.link_model(100.0))
    total = talk(link, utterances)
    link.run_until(link.now + 60.0)
    assert [frame for _, frame in link.delivered] == [spoken(sequence) for sequence in range(total)]
    assert link.counters.given_up == 0
    assert link.sender.deadline is None
    assert link.reassembler.report_at is None


@settings(deadline=None, max_examples=80)
@given(climates, speech, st.floats(0.05, 1.0))
def test_deadline_gives_up_only_what_is_older_than_its_limit(
    climate: Climate, utterances: list[tuple[float, int]], limit_s: float
) -> None:
    link = UplinkOverLink(climate.link_model(100.0), mode=UplinkMode.DEADLINE, limit_s=limit_s)
    total = talk(link, utterances)
    link.run_until(link.now + 60.0)
    assert [frame.sequence for _, frame in link.delivered] == list(range(total))
    stand_ins = [(at, frame) for at, frame in link.delivered if frame != spoken(frame.sequence)]
    assert all(at - link.made_at[frame.sequence] > limit_s for at, frame in stand_ins)
    assert len(stand_ins) == link.reassembler.counters.frames_given_up <= link.counters.given_up
    assert all(frame.timestamp <= frame.sequence * 960 for _, frame in stand_ins)
    timestamps = [frame.timestamp for _, frame in link.delivered]
    assert timestamps == sorted(timestamps)


@settings(deadline=None, max_examples=15)
@given(climates, st.integers(1, 60))
def test_a_flow_keeps_its_rate(climate: Climate, byte_count: int) -> None:
    """Also where nothing comes back: what goes beyond the frames themselves is bounded in any half second."""
    link = UplinkOverLink(climate.link_model(100.0))
    link.say(100, byte_count=2 * byte_count)
    link.run_until(link.now + 20.0)
    for start, _ in link.datagrams:
        window = [size + 60 for at, size in link.datagrams if start <= at < start + 0.5]
        own = math.ceil(0.5 / FRAME_S) * (2 * byte_count + 80)
        probes = math.ceil(0.5 / 0.04) * (8 * (2 * byte_count + 14) + 80)
        assert sum(window) <= own + 4_000 + 8_000 + probes

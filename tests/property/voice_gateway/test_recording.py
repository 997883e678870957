"""Under all faults of a call its recording is what was said and what was played, to the sample."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.property.voice_gateway.recorded_calls import AGENT_HZ, CALLER_HZ, Faults, RecordedModelCall, Samples
from voice_gateway.recording.reading.assembly import Timeline, assemble
from voice_gateway.recording.reading.tracks import render


def _recorded(call: RecordedModelCall) -> Timeline:
    return assemble(call.run())


def _blocks(track: Samples) -> list[tuple[int, Samples]]:
    """Return (first sample, samples) of each stretch of sound."""
    sounding = np.flatnonzero(np.diff(np.concatenate(([0], track != 0, [0]))))
    return [(int(begin), track[begin:end]) for begin, end in zip(sounding[::2], sounding[1::2], strict=True)]


def assert_is_true(call: RecordedModelCall, timeline: Timeline, *, tolerance_ms: float) -> None:
    """Both tracks hold what was said and played, without a sample more or less, each where it was."""
    assert np.array_equal(render(timeline, CALLER_HZ).caller[: len(call.caller)], call.caller)
    assert timeline.caller.missing == ()
    recorded, true = render(timeline, AGENT_HZ).agent, call.agent
    assert np.array_equal(recorded[recorded != 0], true[true != 0])
    # sample by sample: where the n-th sample that was played lies in the two
    late = np.flatnonzero(recorded) - np.flatnonzero(true)
    assert np.abs(late).max(initial=0) <= tolerance_ms * AGENT_HZ / 1000


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), kills=st.integers(0, 3), barge_ins=st.integers(0, 4))
@example(seed=1213470, kills=2, barge_ins=4)  # a report was on its way as the interruption was said
@example(seed=1104996223, kills=3, barge_ins=3)  # all of the rest was played before it was said again
def test_a_recording_is_exact_across_dead_workers_and_barge_ins(seed: int, kills: int, barge_ins: int) -> None:
    rng = random.Random(seed)
    length_ms = rng.randrange(20_000, 40_000, 20)
    faults = Faults(
        kills_at=tuple(rng.randrange(500, length_ms - 4_000) for _ in range(kills)),
        barge_ins_at=tuple(rng.randrange(500, length_ms - 4_000) for _ in range(barge_ins)),
        transit_ms=rng.uniform(0, 150),
    )
    with TemporaryDirectory() as folder:
        call = RecordedModelCall(seed, length_ms, faults, Path(folder))
        assert_is_true(call, _recorded(call), tolerance_ms=1.0)

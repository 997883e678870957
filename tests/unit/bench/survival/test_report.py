from __future__ import annotations

from dataclasses import replace

import pytest

from bench.survival.calls import Outcome
from bench.survival.report import Result, unmeasured

WHOLE = Outcome(gap_ms=40.0, resume_ms=None, frames_lost=0, words_lost=0, is_order_kept=True, fault=None)


def result(*outcomes: Outcome, is_control: bool = False) -> Result:
    return Result("worker killed", 1, is_control, True, outcomes)


@pytest.mark.parametrize("change", [{"frames_lost": 1}, {"words_lost": 1}, {"is_order_kept": False}, {"fault": "gone"}])
def test_one_call_that_lost_something_spoils_a_row_and_makes_a_control(change):
    harmed = (WHOLE, replace(WHOLE, **change))
    assert result(WHOLE, WHOLE).is_as_it_must_be
    assert not result(*harmed).is_as_it_must_be
    assert result(*harmed, is_control=True).is_as_it_must_be
    assert not result(WHOLE, is_control=True).is_as_it_must_be


def test_a_row_sums_up_its_calls():
    harmed = replace(WHOLE, gap_ms=None, frames_lost=3, words_lost=2, is_order_kept=False)
    assert result(WHOLE, harmed).cells() == ["worker killed", 2, 1, "40", "40", 3, 2, "1 of 2"]
    assert result(harmed).cells()[3:5] == ["-", "-"]


def test_a_row_says_how_many_calls_its_gaps_leave_out():
    hidden = replace(WHOLE, gap_ms=None)
    [note] = unmeasured(result(WHOLE, hidden, hidden))
    assert note.startswith("- worker killed: 2 of 3 calls have no gap in the table")
    assert unmeasured(result(WHOLE)) == []
    assert unmeasured(result(hidden, is_control=True)) == []

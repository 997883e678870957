"""How far the worker may run ahead of the ear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.session.core.speech.pacing import Lead, Pacer


@pytest.fixture
def pacer() -> Pacer:
    return Pacer(Lead(target_s=2.0, cap_s=3.0))


def test_the_target_may_be_sent_at_once_and_no_more(pacer: Pacer) -> None:
    assert pacer.allowance_s(0.0) == 2.0
    pacer.sent(1, 2.0, 0.0)
    assert pacer.allowance_s(10.0) == 0.0
    assert pacer.delay_s(0.1, 10.0) is None, "without a report nobody knows that it is played"


def test_between_two_reports_the_caller_is_taken_to_play_on(pacer: Pacer) -> None:
    pacer.sent(1, 2.0, 0.0)
    pacer.played(1, 0.5, False, 0.6)
    assert pacer.allowance_s(0.6) == pytest.approx(0.5)
    assert pacer.allowance_s(0.8) == pytest.approx(0.7)
    pacer.sent(1, 0.7, 0.8)
    assert pacer.delay_s(0.1, 0.8) == pytest.approx(0.1)


def test_the_cap_holds_while_reports_stay_away(pacer: Pacer) -> None:
    pacer.sent(1, 2.0, 0.0)
    pacer.played(1, 0.2, False, 0.2)
    for step in range(100):
        now = 0.2 + step * 0.1
        allowed = pacer.allowance_s(now)
        if allowed > 0:
            pacer.sent(1, min(allowed, 0.1), now)
    assert pacer.lead_s == pytest.approx(3.0)
    assert pacer.delay_s(0.1, 60.0) is None


def test_a_caller_that_fell_silent_is_not_taken_to_play_what_it_has_not(pacer: Pacer) -> None:
    pacer.sent(1, 1.0, 0.0)
    pacer.played(1, 0.5, False, 0.5)
    assert pacer.allowance_s(100.0) == pytest.approx(2.0)
    pacer.sent(1, 2.0, 100.0)
    assert pacer.allowance_s(100.0) == pytest.approx(0.0)


def test_what_was_played_or_thrown_away_makes_room(pacer: Pacer) -> None:
    pacer.sent(1, 1.0, 0.0)
    pacer.sent(2, 1.0, 0.0)
    pacer.played(1, 0.3, True, 1.0)
    assert pacer.lead_s == 1.0
    pacer.dropped(2, 1.1)
    assert pacer.lead_s == 0.0
    assert pacer.allowance_s(1.1) == 2.0


def test_a_report_about_a_later_answer_is_one_about_those_before(pacer: Pacer) -> None:
    pacer.sent(1, 1.0, 0.0)
    pacer.sent(2, 1.0, 0.0)
    pacer.played(2, 0.4, False, 1.5)
    assert pacer.lead_s == pytest.approx(0.6)


def test_a_caller_cannot_have_played_what_was_not_sent(pacer: Pacer) -> None:
    pacer.sent(1, 1.0, 0.0)
    pacer.played(1, 1e9, False, 0.1)
    pacer.played(7, 1e9, True, 0.1)
    assert pacer.lead_s == 0.0
    assert pacer.allowance_s(0.1) == 2.0


@given(st.lists(st.tuples(st.sampled_from(["send", "played", "wait"]), st.floats(0, 5)), max_size=60))
def test_the_cap_is_never_exceeded(steps: list[tuple[str, float]]) -> None:
    pacer, now, sent_s = Pacer(Lead(target_s=2.0, cap_s=3.0)), 0.0, 0.0
    for kind, value in steps:
        if kind == "send":
            amount = min(value, max(0.0, pacer.allowance_s(now)))
            pacer.sent(1, amount, now)
            sent_s += amount
        elif kind == "played":
            pacer.played(1, value, False, now)
        else:
            now += value
        assert pacer.lead_s <= 3.0 + 1e-9

"""How far the worker may send ahead of playback."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.session.core.speech.agent_audio import AgentAudio
from voice_gateway.session.core.speech.pacing import Lead, Pacer
from voice_gateway.session.core.speech.utterances.utterances import Utterances

RATE = 24_000
LEAD = Lead(target_s=2.0, cap_s=3.0)


class Caller:
    """A pacer and the utterances that it paces, in seconds."""

    def __init__(self, utterances: int = 1) -> None:
        self.utterances = Utterances(AgentAudio(RATE, RATE))
        self.pacer = Pacer(LEAD, self.utterances)
        for _ in range(utterances):
            self.utterances.begin("a long answer")
            self.utterances.end()

    @property
    def lead_s(self) -> float:
        return self.utterances.lead_s

    def sent(self, utterance_id: int, duration_s: float, now: float) -> None:
        self.utterances.sent(utterance_id, round(duration_s * RATE) * 2, now)

    def played(self, utterance_id: int, position_s: float, is_complete: bool, now: float) -> None:
        self.utterances.played(utterance_id, round(position_s * 1000), is_complete, now)


@pytest.fixture
def caller() -> Caller:
    return Caller()


def test_the_target_may_be_sent_at_once_and_no_more(caller: Caller) -> None:
    assert caller.pacer.sendable_s(0.0) == 2.0
    caller.sent(1, 2.0, 0.0)
    assert caller.pacer.sendable_s(10.0) == 0.0
    assert caller.pacer.delay_s(0.1, 10.0) is None, "without a report it is not known whether it is played"


def test_between_two_reports_the_caller_is_taken_to_play_on(caller: Caller) -> None:
    caller.sent(1, 2.0, 0.0)
    caller.played(1, 0.5, False, 0.6)
    assert caller.pacer.sendable_s(0.6) == pytest.approx(0.5)
    assert caller.pacer.sendable_s(0.8) == pytest.approx(0.7)
    caller.sent(1, 0.7, 0.8)
    assert caller.pacer.delay_s(0.1, 0.8) == pytest.approx(0.1)


def test_the_cap_holds_while_reports_stay_away(caller: Caller) -> None:
    caller.sent(1, 2.0, 0.0)
    caller.played(1, 0.2, False, 0.2)
    for step in range(100):
        now = 0.2 + step * 0.1
        allowed = caller.pacer.sendable_s(now)
        if allowed > 0:
            caller.sent(1, min(allowed, 0.1), now)
    assert caller.lead_s == pytest.approx(3.0)
    assert caller.pacer.delay_s(0.1, 60.0) is None


def test_a_caller_that_fell_silent_is_not_taken_to_play_what_it_has_not(caller: Caller) -> None:
    caller.sent(1, 1.0, 0.0)
    caller.played(1, 0.5, False, 0.5)
    assert caller.pacer.sendable_s(100.0) == pytest.approx(2.0)
    caller.sent(1, 2.0, 100.0)
    assert caller.pacer.sendable_s(100.0) == pytest.approx(0.0)


def test_what_was_played_or_interrupted_makes_room() -> None:
    caller = Caller(2)
    caller.sent(1, 1.0, 0.0)
    caller.sent(2, 1.0, 0.0)
    caller.played(1, 0.3, True, 1.0)
    assert caller.lead_s == 1.0
    caller.utterances.interrupt(1.1)
    assert caller.lead_s == 0.0
    assert caller.pacer.sendable_s(1.1) == 2.0


def test_a_report_about_a_later_answer_is_one_about_those_before() -> None:
    caller = Caller(2)
    caller.sent(1, 1.0, 0.0)
    caller.sent(2, 1.0, 0.0)
    caller.played(2, 0.4, False, 1.5)
    assert caller.lead_s == pytest.approx(0.6)


def test_a_caller_cannot_have_played_what_was_not_sent(caller: Caller) -> None:
    caller.sent(1, 1.0, 0.0)
    caller.played(1, 1e9, False, 0.1)
    caller.played(7, 1e9, True, 0.1)
    assert caller.lead_s == 0.0
    assert caller.pacer.sendable_s(0.1) == 2.0
    caller.sent(1, 1.0, 0.2)
    assert caller.lead_s == 1.0


def test_what_is_sent_on_its_way_to_a_reset_takes_no_room(caller: Caller) -> None:
    caller.sent(1, 1.0, 0.0)
    caller.utterances.interrupt(0.1)
    caller.sent(1, 0.2, 0.1)
    assert caller.lead_s == 0.0
    assert caller.pacer.sendable_s(0.1) == 2.0


def test_a_report_about_an_answer_that_was_not_sent_says_nothing_about_those_before() -> None:
    caller = Caller(2)
    caller.sent(1, 1.0, 0.0)
    caller.played(2, 0.0, False, 0.1)
    assert caller.lead_s == 1.0
    assert caller.pacer.delay_s(2.0, 0.1) is None


def test_what_is_sent_of_an_answer_that_was_called_complete_too_early_takes_room() -> None:
    caller = Caller(2)
    caller.sent(1, 1.0, 0.0)
    caller.played(1, 1.0, True, 0.1)
    caller.utterances.interrupt(0.2)
    caller.sent(1, 1.5, 0.3)
    assert caller.lead_s == 1.5


def test_a_new_connection_begins_with_the_whole_target(caller: Caller) -> None:
    caller.sent(1, 2.0, 0.0)
    caller.played(1, 0.1, False, 0.1)
    caller.utterances.hold()
    assert caller.lead_s == 0.0
    assert caller.pacer.sendable_s(0.2) == 2.0
    assert caller.pacer.delay_s(3.5, 0.2) is None


def test_utterances_that_are_not_kept_any_more_still_take_room() -> None:
    caller = Caller(1)
    caller.sent(1, 2.0, 0.0)
    for _ in range(70):
        caller.utterances.begin("more")
        caller.utterances.end()
    assert caller.lead_s == 2.0
    caller.sent(1, 0.5, 0.1)
    assert caller.lead_s == 2.5
    caller.sent(71, 0.2, 0.2)
    caller.played(71, 0.1, False, 0.3)
    assert caller.lead_s == pytest.approx(0.1)


@given(st.lists(st.tuples(st.sampled_from(["send", "played", "wait"]), st.floats(0, 5)), max_size=60))
def test_the_cap_is_never_exceeded(steps: list[tuple[str, float]]) -> None:
    caller, now = Caller(), 0.0
    for kind, value in steps:
        if kind == "send":
            allowed_s = max(0.0, caller.pacer.sendable_s(now))
            caller.utterances.sent(1, int(min(value, allowed_s) * RATE) * 2, now)
        elif kind == "played":
            caller.played(1, value, False, now)
        else:
            now += value
        assert caller.lead_s <= 3.0 + 1e-9

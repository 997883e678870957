"""The steps of a caller's `bye`, each by its event."""

from __future__ import annotations

import math

import pytest

from voice_gateway.session.core.lifecycle.closing_handshake import ClosingHandshake, ClosingState, ClosingStep


@pytest.fixture
def closing() -> ClosingHandshake:
    return ClosingHandshake(timeout_s=30.0)


def answered(closing: ClosingHandshake) -> None:
    closing.bye_received(0, 0, 1.0)
    assert closing.agent_finished()


def test_bye_asks_the_agent_to_finish_at_once_where_every_frame_is_here(closing: ClosingHandshake) -> None:
    assert closing.bye_received(3, 3, 1.0) is ClosingStep.FINISH_AGENT
    assert closing.state is ClosingState.ANSWERING


def test_bye_waits_for_the_frames_that_it_overtook(closing: ClosingHandshake) -> None:
    assert closing.bye_received(3, 1, 1.0) is ClosingStep.WAIT
    assert closing.frame_received(2) is ClosingStep.WAIT
    assert closing.frame_received(3) is ClosingStep.FINISH_AGENT


def test_the_agent_is_asked_to_finish_once(closing: ClosingHandshake) -> None:
    closing.bye_received(1, 1, 1.0)
    assert closing.frame_received(1) is ClosingStep.WAIT


def test_frames_before_bye_are_no_step(closing: ClosingHandshake) -> None:
    assert closing.frame_received(5) is ClosingStep.WAIT
    assert closing.frames is None
    assert not closing.is_past_end(5)


def test_frames_that_bye_does_not_count_are_past_its_end(closing: ClosingHandshake) -> None:
    closing.bye_received(3, 1, 1.0)
    assert [closing.is_past_end(sequence) for sequence in (2, 3, 4)] == [False, True, True]


@pytest.mark.parametrize("has_bye", [False, True])
def test_an_agent_that_was_not_asked_has_not_finished(closing: ClosingHandshake, has_bye: bool) -> None:
    if has_bye:
        closing.bye_received(3, 1, 1.0)
    assert not closing.agent_finished()
    assert not closing.is_agent_finished


def test_an_agent_finishes_once(closing: ClosingHandshake) -> None:
    answered(closing)
    assert closing.is_agent_finished
    assert not closing.agent_finished()


@pytest.mark.parametrize(("is_saved", "is_played"), [(False, False), (True, False), (False, True)])
def test_the_worker_says_bye_only_once_all_is_saved_and_played(
    closing: ClosingHandshake, is_saved: bool, is_played: bool
) -> None:
    answered(closing)
    assert closing.answers_progressed(is_saved=is_saved, is_played=is_played) is ClosingStep.WAIT
    assert closing.answers_progressed(is_saved=True, is_played=True) is ClosingStep.SAY_BYE
    assert closing.answers_progressed(is_saved=True, is_played=True) is ClosingStep.WAIT


def test_the_worker_does_not_say_bye_before_the_agent_has_finished(closing: ClosingHandshake) -> None:
    closing.bye_received(0, 0, 1.0)
    assert closing.answers_progressed(is_saved=True, is_played=True) is ClosingStep.WAIT


def test_the_deadline_begins_with_bye_and_moves_with_each_event_of_the_agent(closing: ClosingHandshake) -> None:
    closing.agent_emitted(0.5)
    assert closing.deadline == math.inf
    closing.bye_received(3, 1, 1.0)
    assert closing.deadline == 31.0
    closing.agent_emitted(20.0)
    assert closing.deadline == 50.0

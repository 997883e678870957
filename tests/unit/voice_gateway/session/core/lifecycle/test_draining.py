"""When the caller of a worker that goes away is sent elsewhere."""

from __future__ import annotations

from voice_gateway.session.core.lifecycle.draining import Draining


def begun() -> Draining:
    draining = Draining()
    draining.begin(30.0, now=100.0)
    return draining


def test_a_worker_that_stays_sends_no_caller_elsewhere() -> None:
    draining = Draining()
    assert draining.notice(1e9, is_quiet=True) is None
    assert not draining.is_notice_due(1e9)
    assert list(draining.deadlines()) == []


def test_the_caller_is_sent_elsewhere_at_the_first_quiet_moment_and_once() -> None:
    draining = begun()
    assert draining.notice(101.0, is_quiet=False) is None
    assert draining.notice(102.0, is_quiet=True) == 28.0
    assert draining.notice(103.0, is_quiet=True) is None
    assert not draining.is_notice_due(200.0)


def test_without_a_quiet_moment_the_caller_is_sent_elsewhere_after_half_of_the_time() -> None:
    draining = begun()
    assert not draining.is_notice_due(114.9)
    assert draining.is_notice_due(115.0)
    assert draining.notice(115.0, is_quiet=False) == 15.0


def test_no_negative_time_is_left() -> None:
    assert begun().notice(140.0, is_quiet=False) == 0.0


def test_the_moment_to_look_again_is_the_notice_and_then_the_end() -> None:
    draining = begun()
    assert min(draining.deadlines()) == 115.0
    draining.notice(115.0, is_quiet=False)
    assert list(draining.deadlines()) == [130.0]

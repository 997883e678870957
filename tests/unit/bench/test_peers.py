"""The silence and the losses that benchmarks compute from times of arrival."""

from __future__ import annotations

import pytest

from bench.answering.__main__ import silence_if_dropping, silence_if_waiting, silence_of_player
from bench.moving.__main__ import loss_of
from bench.peers.timing import CallTimes
from bench.peers.ways import first_arrivals

FRAME_S = 0.02


def arrivals(count: int, late: dict[int, float] | None = None) -> dict[int, float]:
    return {n: 10 + n * FRAME_S + (late or {}).get(n, 0.0) for n in range(count)}


def test_player_that_waits_is_silent_as_long_as_it_waits() -> None:
    assert silence_if_waiting(arrivals(100), 100) == pytest.approx(0, abs=0.001)
    assert silence_if_waiting(arrivals(100, {50: 0.5}), 100) == pytest.approx(500)


def test_frame_that_never_comes_is_silence() -> None:
    missing = {n: at for n, at in arrivals(100).items() if n != 50}
    assert silence_if_waiting(missing, 100) == pytest.approx(20)
    assert silence_if_dropping(missing, 100) == pytest.approx(20)


def test_player_that_drops_does_not_play_what_is_later_than_its_buffer() -> None:
    late = dict.fromkeys(range(50, 60), 0.3) | dict.fromkeys(range(60, 70), 0.1)
    assert silence_if_dropping(arrivals(100, late), 100) == pytest.approx(200)


def test_silence_of_a_player_is_the_time_in_which_it_played_nothing() -> None:
    played = [n * FRAME_S for n in range(50)] + [2 + n * FRAME_S for n in range(50)]
    assert silence_of_player(played) == pytest.approx(1_000)


def test_loss_counts_frames_and_the_longest_gap() -> None:
    call = CallTimes(began=0, sent=[(n, n * FRAME_S) for n in range(200)])
    arrived = {n: n * FRAME_S + (0.5 if n >= 100 else 0) for n in range(200) if n not in {7, 8}}
    loss = loss_of(call, arrived, 1)
    assert (loss.frames, loss.sessions, loss.sent) == (2, 0, 200)
    assert loss.gap_ms == pytest.approx(500)
    assert loss_of(call, arrived, 1, event_at=3.0).gap_ms == pytest.approx(0, abs=0.001)  # it was over by then


def test_call_that_does_not_go_on_loses_its_session_and_its_gap_lasts_to_the_end() -> None:
    call = CallTimes(began=0, sent=[(n, n * FRAME_S) for n in range(200)])
    loss = loss_of(call, {n: n * FRAME_S for n in range(100)}, 1)
    assert (loss.frames, loss.sessions) == (100, 1)
    assert loss.gap_ms == pytest.approx(1_980)


def test_frame_that_comes_twice_came_first() -> None:
    assert first_arrivals([[1, 5.0], [1, 6.0], [2, 5.5]]) == {1: 5.0, 2: 5.5}

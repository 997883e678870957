"""Which timestamp belongs to an instant, from the frames that were sent."""

from __future__ import annotations

from voice_client.audio.media_clock import MediaClock

FRAME = 960


def test_no_frame_tells_nothing() -> None:
    assert MediaClock().timestamp(5.0) is None


def test_clock_runs_on_between_frames_and_after_them() -> None:
    clock = MediaClock()
    clock.captured(FRAME, 10.02)
    clock.captured(2 * FRAME, 10.04)
    assert [clock.timestamp(at) for at in (10.0, 10.03, 10.04, 11.0)] == [0, 1_440, 1_920, 48_000]
    assert clock.timestamp(9.0) is None


def test_late_frames_do_not_move_the_clock() -> None:
    clock = MediaClock()
    for number, late_s in enumerate((0.0, 0.3, 0.28, 0.26, 0.01), 1):
        clock.captured(number * FRAME, 10 + number * 0.02 + late_s)
    assert clock.timestamp(10.1) == 5 * FRAME


def test_faster_frame_moves_the_clock_at_once() -> None:
    clock = MediaClock()
    clock.captured(FRAME, 10.1)
    clock.captured(2 * FRAME, 10.04)
    assert clock.timestamp(10.04) == 2 * FRAME


def test_clock_follows_a_sound_card_that_drifts_and_forgets_old_frames() -> None:
    clock = MediaClock()
    for number in range(1, 5_001):  # 100 s of a card that runs 100 ppm slow
        clock.captured(number * FRAME, number * 0.02 * 1.0001)
    found = clock.timestamp(100.01)
    assert found is not None
    assert abs(found - 5_000 * FRAME) < 0.002 * 48_000


def test_reset_forgets_the_frames_before_a_pause() -> None:
    clock = MediaClock()
    clock.captured(FRAME, 10.02)
    clock.reset()
    assert clock.timestamp(10.1) is None
    clock.captured(100 * FRAME, 15.0)
    assert clock.timestamp(15.0) == 100 * FRAME

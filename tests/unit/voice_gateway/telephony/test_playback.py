from __future__ import annotations

from voice_gateway.telephony.playback import PlaybackPosition, PlaybackTracker


def spoken(playout: PlaybackTracker, utterance_id: int, duration_ms: int) -> list[str]:
    """Send that much in frames of 20 ms, and end the utterance; return all marks."""
    marks = [playout.sent(utterance_id, 20.0) for _ in range(duration_ms // 20)]
    return [mark for mark in marks if mark] + [playout.ended(utterance_id)]


def test_marks_stand_behind_the_first_frame_every_200_ms_and_at_the_end() -> None:
    assert spoken(PlaybackTracker(), 3, 500) == ["3:20", "3:220", "3:420", "3:500:end"]


def test_an_utterance_without_audio_ends_all_the_same() -> None:
    playout = PlaybackTracker()
    name = playout.ended(4)
    assert playout.returned(name, 0.0) == PlaybackPosition(4, 0, is_complete=True)


def test_marks_that_come_back_say_what_was_played() -> None:
    playout = PlaybackTracker()
    marks = spoken(playout, 1, 300)
    positions = [playout.returned(name, 0.0) for name in marks]
    assert positions == [PlaybackPosition(1, 20), PlaybackPosition(1, 220), PlaybackPosition(1, 300, is_complete=True)]
    assert not playout.has_pending


def test_between_marks_time_counts_up_to_the_next() -> None:
    playout = PlaybackTracker()
    marks = spoken(playout, 1, 500)
    assert playout.position(5.0) is None
    playout.returned(marks[0], 10.0)
    assert playout.position(10.0) == PlaybackPosition(1, 20)
    assert playout.position(10.1) == PlaybackPosition(1, 120)
    assert playout.position(20.0) == PlaybackPosition(1, 220)


def test_the_next_utterance_begins_where_the_last_one_ended() -> None:
    playout = PlaybackTracker()
    first, second = spoken(playout, 1, 40), spoken(playout, 2, 400)
    playout.returned(first[-1], 1.0)
    assert playout.position(1.01) == PlaybackPosition(2, 10)
    playout.returned(second[0], 1.02)
    assert playout.position(1.10) == PlaybackPosition(2, 100)


def test_marks_that_a_clear_returns_were_not_played() -> None:
    playout = PlaybackTracker()
    marks = spoken(playout, 1, 500)
    playout.returned(marks[0], 1.0)
    playout.cleared()
    assert not playout.has_pending
    assert [playout.returned(name, 1.0) for name in marks[1:]] == [None, None, None]
    assert playout.position(9.0) is None
    assert playout.returned(spoken(playout, 2, 20)[0], 2.0) == PlaybackPosition(2, 20)


def test_audio_behind_the_last_mark_is_pending_too() -> None:
    playout = PlaybackTracker()
    mark = playout.sent(1, 20.0)
    assert mark is not None
    playout.sent(1, 20.0)
    playout.returned(mark, 0.0)
    assert playout.has_pending


def test_a_mark_of_somebody_else_says_nothing() -> None:
    playout = PlaybackTracker()
    spoken(playout, 1, 20)
    assert playout.returned("utterance-7", 0.0) is None
    assert playout.has_pending


def test_a_mark_stands_for_those_before_it() -> None:
    playout = PlaybackTracker()
    marks = spoken(playout, 1, 500)
    assert playout.returned(marks[2], 0.0) == PlaybackPosition(1, 420)
    assert playout.returned(marks[1], 0.0) is None

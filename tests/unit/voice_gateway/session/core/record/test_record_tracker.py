from __future__ import annotations

from voice_gateway.session.core.record.record_saves import Acks
from voice_gateway.session.core.record.record_tracker import RecordTracker
from voice_gateway.session.core.speech.utterances.utterance import Cut
from voice_gateway.store.base import Line


def test_a_fresh_session_has_nothing_to_save():
    tracker = RecordTracker("s", 2.0)
    assert tracker.is_saved
    assert tracker.next_save() is None


def test_a_turn_is_saved_whole_and_acked_only_when_the_save_returned():
    tracker = RecordTracker("s", 2.0)
    tracker.understood("a latte", 41, {"items": 1})
    record = tracker.next_save()
    assert (record.acked_sequence, record.turn, record.state) == (41, 1, {"items": 1})
    assert record.transcript == (Line(1, "user", "a latte"),)
    assert tracker.saves.acked_sequence is None
    assert tracker.saves.succeeded(record.revision) == Acks(41)
    assert tracker.is_saved


def test_one_save_at_a_time_and_the_next_holds_all_that_came_meanwhile():
    tracker = RecordTracker("s", 2.0)
    tracker.understood("one", 10, None)
    first = tracker.next_save()
    tracker.understood("two", 20, None)
    tracker.transcript.answered(tracker.turn, 1, "three")
    assert tracker.next_save() is None
    assert tracker.saves.succeeded(first.revision) == Acks(10)
    second = tracker.next_save()
    assert (second.acked_sequence, len(second.transcript)) == (20, 3)
    assert tracker.saves.succeeded(second.revision) == Acks(20)


def test_a_failed_save_is_offered_again():
    tracker = RecordTracker("s", 2.0)
    tracker.understood("one", 10, None)
    record = tracker.next_save()
    assert tracker.saves.failed(record.revision)
    assert tracker.next_save() == record


def test_notices_about_other_saves_are_ignored():
    tracker = RecordTracker("s", 2.0)
    tracker.understood("one", 10, None)
    record = tracker.next_save()
    assert tracker.saves.succeeded(record.revision + 1) == Acks()
    assert not tracker.saves.failed(record.revision + 1)
    assert tracker.saves.succeeded(record.revision) == Acks(10)
    assert tracker.saves.succeeded(record.revision) == Acks()


def test_silence_asks_for_a_save_once_in_an_interval():
    tracker = RecordTracker("s", 2.0)
    saves = 0
    for sequence in range(500):
        tracker.silent(sequence, 0.02 * sequence)
        if record := tracker.next_save():
            saves += 1
            tracker.saves.succeeded(record.revision)
    assert saves == 5


def test_the_cursor_never_goes_back():
    tracker = RecordTracker("s", 0.0)
    tracker.silent(50, 0.0)
    tracker.understood("late", 40, None)
    assert tracker.next_save().acked_sequence == 50


def test_the_last_silence_is_saved_at_the_end():
    tracker = RecordTracker("s", 2.0)
    tracker.silent(1, 0.0)
    tracker.saves.succeeded(tracker.next_save().revision)
    tracker.silent(9, 0.1)
    assert tracker.next_save() is None
    tracker.completed(9)
    record = tracker.next_save()
    assert tracker.saves.succeeded(record.revision) == Acks(9)


def test_the_transcript_keeps_what_was_played_of_an_interrupted_answer():
    tracker = RecordTracker("s", 2.0)
    tracker.transcript.answered(tracker.turn, 1, "one two three")
    tracker.transcript.answered(tracker.turn, 2, "four")
    tracker.transcript.interrupted((Cut(1, "one two", 500), Cut(2, "", 0)))
    assert tracker.next_save().transcript == (Line(0, "agent", "one two"),)


def test_a_transcript_is_shortened_to_half_a_million_characters() -> None:
    tracker = RecordTracker("s", 2.0)
    for number in range(1_000):
        tracker.understood("x" * 4_000, number, None)
    lines = tracker.record().transcript
    assert (len(lines), lines[-1].turn) == (125, 1_000)

from __future__ import annotations

from voice_gateway.session.core.record_tracker import Ledger
from voice_gateway.session.core.replies import Cut
from voice_gateway.store.base import Line


def test_a_fresh_session_has_nothing_to_save():
    ledger = Ledger("s", 2.0)
    assert ledger.is_saved
    assert ledger.next_save() is None


def test_a_turn_is_saved_whole_and_heard_only_when_the_save_returned():
    ledger = Ledger("s", 2.0)
    ledger.understood("a latte", 41, {"items": 1})
    record = ledger.next_save()
    assert (record.heard_sequence, record.turn, record.state) == (41, 1, {"items": 1})
    assert record.transcript == (Line(1, "user", "a latte"),)
    assert ledger.heard_sequence is None
    assert ledger.saved(record.revision) == 41
    assert ledger.is_saved


def test_one_save_at_a_time_and_the_next_holds_all_that_came_meanwhile():
    ledger = Ledger("s", 2.0)
    ledger.understood("one", 10, None)
    first = ledger.next_save()
    ledger.understood("two", 20, None)
    ledger.answered(1, "three")
    assert ledger.next_save() is None
    assert ledger.saved(first.revision) == 10
    second = ledger.next_save()
    assert (second.heard_sequence, len(second.transcript)) == (20, 3)
    assert ledger.saved(second.revision) == 20


def test_a_failed_save_is_offered_again():
    ledger = Ledger("s", 2.0)
    ledger.understood("one", 10, None)
    record = ledger.next_save()
    assert ledger.failed(record.revision)
    assert ledger.next_save() == record


def test_notices_about_other_saves_are_ignored():
    ledger = Ledger("s", 2.0)
    ledger.understood("one", 10, None)
    record = ledger.next_save()
    assert ledger.saved(record.revision + 1) is None
    assert not ledger.failed(record.revision + 1)
    assert ledger.saved(record.revision) == 10
    assert ledger.saved(record.revision) is None


def test_silence_asks_for_a_save_once_in_an_interval():
    ledger = Ledger("s", 2.0)
    saves = 0
    for sequence in range(500):
        ledger.silent(sequence, 0.02 * sequence)
        if record := ledger.next_save():
            saves += 1
            ledger.saved(record.revision)
    assert saves == 5


def test_the_cursor_never_goes_back():
    ledger = Ledger("s", 0.0)
    ledger.silent(50, 0.0)
    ledger.understood("late", 40, None)
    assert ledger.next_save().heard_sequence == 50


def test_the_last_silence_is_saved_at_the_end():
    ledger = Ledger("s", 2.0)
    ledger.silent(1, 0.0)
    ledger.saved(ledger.next_save().revision)
    ledger.silent(9, 0.1)
    assert ledger.next_save() is None
    ledger.completed(9)
    record = ledger.next_save()
    assert ledger.saved(record.revision) == 9


def test_the_transcript_keeps_what_was_heard_of_an_interrupted_answer():
    ledger = Ledger("s", 2.0)
    ledger.answered(1, "one two three")
    ledger.answered(2, "four")
    ledger.interrupted((Cut(1, "one two"), Cut(2, "")))
    assert ledger.next_save().transcript == (Line(0, "agent", "one two"),)

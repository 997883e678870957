"""What was said before the oldest pending turn: with turns that end, and with keys that are part of another answer."""

from __future__ import annotations

from voice_gateway.agent.call.progress.journal import Journal, Turn


def journal_of(*numbers: int) -> Journal:
    journal = Journal()
    for number in numbers:
        journal.understood(Turn(number, "words", 0))
    return journal


def test_what_was_said_before_a_turn_is_counted_when_the_turn_before_it_ends() -> None:
    journal = journal_of(1, 2)
    journal.answered(1, lambda turn: "one answer" * (turn == 2))
    assert journal.said_before == len("one answer")
    assert Journal(journal.to_state()).said_before == len("one answer")
    journal.answered(2, lambda _turn: "two answers")
    assert journal.said_before == 0


def test_keys_behind_the_turn_that_is_answered_leave_its_own_answer_out() -> None:
    journal = journal_of(1, 2, 3)
    journal.consumed([2, 3], lambda _turn: "Enter your number.")
    assert journal.said_before == 0


def test_keys_before_a_turn_count_what_was_said_before_it() -> None:
    journal = journal_of(1, 2)
    journal.consumed([1], lambda turn: "Thank you." * (turn == 2))
    assert journal.said_before == len("Thank you.")

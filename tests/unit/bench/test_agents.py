"""What the benchmark of killed agents counts."""

from __future__ import annotations

import pytest

from bench.agents.cells import UNDISTURBED, Amount, Job, jobs_of
from bench.agents.kills import EFFECT, NOTHING, Cell, Ear, Outcome, Round, words_lost
from bench.agents.ways import WAYS

SAID = "can i have a brown sugar milk tea"


@pytest.mark.parametrize(
    ("heard", "count"),
    [("Can I have a brown sugar milk tea?", 0), ("can i have a brown tea", 2), ("", 8), (f"{SAID} {SAID}", 0)],
)
def test_words_lost_are_those_that_were_not_heard_in_order(heard: str, count: int) -> None:
    assert words_lost(SAID, heard) == count


def test_the_longest_silence_begins_at_the_kill_and_ends_with_sound() -> None:
    ear = Ear()
    loud, quiet = (20_000).to_bytes(2, "little") * 480, bytes(960)
    for at_s, pcm in ((1.0, loud), (2.0, loud), (2.5, quiet), (5.0, loud), (5.5, quiet)):
        ear.play(at_s, pcm)
    assert ear.longest_silence_s(1.5) == 3.0
    assert ear.longest_silence_s(4.0) == 1.0
    assert ear.longest_silence_s(6.0) is None


def test_a_call_is_wrong_where_it_is_unlike_the_undisturbed_ones() -> None:
    right = Outcome(0, (("user", SAID), ("agent", "Yes.")), {"items": 1}, 900.0)
    wrong = Outcome(8, (("agent", "What?"),), {}, None, "CallLost: gone")
    job = Job(WAYS[0], (Cell("", NOTHING), Cell("worker", EFFECT)))
    job.rounds = {
        job.cells[0]: [Round((right, right, wrong), ("a", "b"))],
        job.cells[1]: [Round((right, wrong), ("a", "a", "b", "c"))],
    }
    found = job.figures(job.cells[1])
    assert (found["words lost"], found["wrong transcripts"], found["wrong states"], found["failed"]) == (8, 1, 1, 1)
    assert (found["effects under a second key"], found["repeated under their key"]) == (1, 1)


def test_every_way_has_a_name_that_selects_it() -> None:
    assert [job.name for job in jobs_of([way.name for way in WAYS])] == [way.name for way in WAYS]


def test_rounds_of_an_earlier_run_are_taken_over() -> None:
    right = Outcome(0, (("user", SAID), ("agent", "Yes.")), {"items": 1}, 900.0)
    job, later = (Job(WAYS[0], (UNDISTURBED, Cell("worker", EFFECT))) for _ in range(2))
    job.rounds = {UNDISTURBED: [Round((right, right), ("a", "b"), ("violation: x",))]}
    later.restore(job.documents())
    assert later.rounds == job.rounds
    assert later.left(Amount(2, 2)) == [Cell("worker", EFFECT)]


def test_a_control_that_loses_nothing_is_a_fault() -> None:
    control = jobs_of(["call agent without store"])[0]
    right = Outcome(0, (("user", SAID),), {}, 900.0)
    control.rounds = {UNDISTURBED: [Round((right,), ("a",))], control.cells[1]: [Round((right,), ("b",))]}
    assert control.faults() == [
        "the control 'call agent without store' shows no words lost: the zeros of the others prove nothing"
    ]


def test_a_way_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="unknown way Pipecut: one of call agent, call agent in a host, Node"):
        jobs_of(["Pipecut"])

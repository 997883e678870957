"""What the benchmark of killed agent hosts counts and keeps."""

from __future__ import annotations

from bench.hosts.kills import CallOutcome, KillOutcome
from bench.hosts.points import Setting, settings

RIGHT = CallOutcome()
WRONG = CallOutcome(3, is_state_right=False, is_transcript_right=False, error="CallLost: gone")


def test_the_calls_of_all_kills_are_counted_together() -> None:
    setting = Setting("", ("mid_reply", "in_utterance"))
    setting.kills["mid_reply"] = [
        KillOutcome((RIGHT, RIGHT), 0, 1, 2, (10.0, 30.0)),
        KillOutcome((RIGHT, WRONG), 1, 0, 1, (20.0,)),
    ]
    found = setting.figures("mid_reply")
    assert (found["calls"], found["kills"], found["failed"], found["at the point"]) == (4, 2, 1, 3)
    assert (found["words lost"], found["effects under a second key"], found["repeated under their key"]) == (3, 1, 1)
    assert (found["wrong transcripts"], found["wrong states"], found["gap_ms"]["median"]) == (1, 1, 20.0)
    assert setting.left(4) == ["in_utterance"]


def test_kills_of_an_earlier_run_are_taken_over() -> None:
    setting = Setting("", ("mid_reply",))
    setting.kills["mid_reply"] = [KillOutcome((RIGHT, WRONG), 1, 0, 2, (20.0,))]
    later = Setting("", ("mid_reply",))
    later.restore(setting.documents())
    assert later.kills == setting.kills
    assert not later.left(2)


def test_a_control_that_shows_nothing_is_a_fault() -> None:
    control = settings()["controls"][0]
    control.kills["after_effect"] = [KillOutcome((RIGHT,), 0, 0, 1, ())]
    assert control.faults() == [
        "the control 'tools without a journal' shows no effects under a second key: "
        "the zeros of the others prove nothing"
    ]
    control.kills["after_effect"] = [KillOutcome((RIGHT,), 1, 0, 1, ())]
    assert not control.faults()

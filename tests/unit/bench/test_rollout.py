"""What the bench of a rolling update counts as a fault, and what it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import figures
from bench.rollout.callers import Outcome
from bench.rollout.pods import Names
from bench.rollout.prometheus import Evaluations
from bench.rollout.report import Rollout, write

CALL = Outcome("s-1", 10, 0, 600, 0, [37.0, 900.0], ["w-0", "w-1", "w-0"], ["drain", "no answer for 0.8 s"], None)
GOOD = Rollout(
    workers=4,
    balancers=2,
    seconds=60.0,
    ended_s=[7.0, 8.0],
    outcomes=[CALL],
    caller_late_ms=[1.0],
    answers_ms={"worker /readyz": [2.0, 3.0]},
    unanswered={},
    failed_probes=0,
    evaluations=Evaluations(asked=3, took_ms=[1.0]),
)


def test_moves_are_told_apart_by_who_began_them_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    assert GOOD.faults() == []
    write(GOOD, is_quick=True)
    document = json.loads((tmp_path / "rollout-quick.json").read_text())
    assert document["gap_ms_by_cause"]["worker"]["max"] == 37.0
    assert document["gap_ms_by_cause"]["caller"]["max"] == 900.0
    text = (tmp_path / "rollout-quick.md").read_text()
    assert "| of those that the worker began | 1: 37.0 / 37.0 / 37.0 |" in text
    assert "nothing was lost" in text


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (replace(CALL, fault="the session is gone"), "a session was lost: the session is gone"),
        (replace(CALL, words_lost=2), "2 words were lost"),
        (replace(CALL, frames_lost=3), "3 frames were lost"),
        (replace(CALL, gaps_ms=[]), "no call moved: the update was not under calls"),
    ],
)
def test_whatever_a_call_loses_is_a_fault(call: Outcome, said: str) -> None:
    assert said in replace(GOOD, outcomes=[call]).faults()


def test_a_query_that_never_had_a_value_and_an_alert_are_faults() -> None:
    evaluations = Evaluations(asked=3, took_ms=[1.0], firing={"VoiceWorkerDown"})
    evaluations.empty.update({"1: Sessions": 3, "2: Turns": 1})
    found = replace(GOOD, evaluations=evaluations).faults()
    assert found == ["the query of '1: Sessions' never had a value", "the alert VoiceWorkerDown fired"]


def test_names_are_found_while_they_are_shown(tmp_path: Path) -> None:
    names = Names(tmp_path / "hosts")
    names.put("worker-0.calls", "127.1.1.1")
    names.put("worker-1.calls", "127.1.1.2")
    names.show("worker-0.calls")
    before = (tmp_path / "hosts").read_bytes()
    names.show("worker-1.calls")
    names.hide("worker-0.calls")
    lines = [line.split() for line in (tmp_path / "hosts").read_text().splitlines() if not line.startswith("#")]
    assert lines == [["127.0.0.1", "localhost"], ["127.1.1.2", "worker-1.calls"]]
    # as long as before, so that one write replaces it
    assert len((tmp_path / "hosts").read_bytes()) == len(before)

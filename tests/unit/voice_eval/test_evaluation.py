"""Which calls an evaluation makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from voice_eval.call.record import CallRecord, TranscriptLine
from voice_eval.drivers.base import Dialling, Driver, Endpoint, Line
from voice_eval.errors import EvalError
from voice_eval.evaluation import Evaluation, Plan
from voice_eval.network.condition import choose_conditions
from voice_eval.scenario.model import Say, Scenario
from voice_eval.targets.base import UrlTarget

SCENARIO = Scenario(name="hi", steps=(Say(say="Hi there."),))
TARGET = UrlTarget(Endpoint("http://127.0.0.1:9"))


class NoCalls(Driver):
    name = "none"

    def line(self, dialling: Dialling) -> Line:
        raise EvalError(f"called {dialling.call_id}")


def plan(*conditions: str) -> Plan:
    return Plan([(Path("hi.yaml"), SCENARIO)], choose_conditions(conditions), seed=7)


async def test_a_call_that_was_made_before_is_judged_and_not_made_again() -> None:
    record = CallRecord(lines=[TranscriptLine("user", "hi there")])
    (result,) = await Evaluation(plan("clean"), NoCalls, TARGET, known={"hi[clean]": record}).run()
    assert result.record is record
    assert [each.text for each in result.verdict.words or ()] == ["hi", "there"]


async def test_a_call_that_was_not_made_before_is_made() -> None:
    evaluation = Evaluation(plan("clean", "bursts-3"), NoCalls, TARGET, known={"hi[clean]": CallRecord()})
    with pytest.raises(EvalError, match=r"called 7-hi\[bursts-3\]"):
        await evaluation.run()

"""The driver that calls Pipecat pipelines over Media over QUIC, with a pipeline's messages and without Pipecat."""

from __future__ import annotations

import base64
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("moq") is None and os.environ.get("STRICT") != "1":
    pytest.skip("moq-rs is not installed: make .venv-agents/.transports", allow_module_level=True)

from testbed.waiting import until
from tests.agents.voice_eval.moq_pipeline import TEXT, moq_pipeline
from voice_eval.drivers.base import Endpoint
from voice_eval.drivers.moq import MoqDriver, MoqSession, Replays
from voice_eval.errors import EvalError
from voice_eval.evaluation import Evaluation, Plan, Result
from voice_eval.network.condition import Condition, Direction
from voice_eval.scenario.model import Expectations, OfferedTool, Say, Scenario
from voice_eval.targets.base import UrlTarget

SLOW = Condition(name="slow", up=Direction(delay_ms=60))


async def called(expect: dict[str, Any], *, has_relay: bool = False) -> tuple[Result, list[dict[str, Any]]]:
    scenario = Scenario(
        name="taro",
        has_greeting=False,
        steps=(Say(say="A small taro."),),
        tools=(OfferedTool(name="kitchen", result="done"),),
        expect=Expectations.model_validate_json(json.dumps(expect)),
    )
    plan = Plan([(Path("taro.yaml"), scenario)], [(SLOW, None)], has_reference=False)
    async with moq_pipeline(has_relay=has_relay) as pipeline:
        endpoint = Endpoint(f"https://127.0.0.1:{pipeline.port}/moq", certificate_hash=pipeline.fingerprint)
        (result,) = await Evaluation(plan, MoqDriver, UrlTarget(endpoint)).run()
        await until(lambda: any(each["type"] == "session-ending" for each in pipeline.received), "the goodbye")
        return result, pipeline.received


@pytest.mark.parametrize("has_relay", [False, True])
async def test_a_call_has_sound_transcript_state_and_tools_and_answers_the_tool(has_relay: bool) -> None:
    expect = {
        "transcript": ["taro"],
        "answer": ["one taro"],
        "state": {"items": [TEXT]},
        "tools": [{"name": "kitchen"}],
    }
    result, received = await called(expect, has_relay=has_relay)
    assert result.verdict.has_passed, result.verdict.sentence
    assert result.verdict.figures.played_ms == pytest.approx(2_000, abs=150)
    (answer,) = result.verdict.figures.answers_ms
    assert answer is not None
    assert 120 < answer < 10_000
    assert [each["type"] for each in received] == ["client-ready", "llm-function-call-result", "session-ending"]
    assert received[1]["data"]["result"] == "done"
    assert [each["seq"] for each in received] == [0, 1, 2]


async def test_a_wrong_expectation_fails() -> None:
    result, _ = await called({"transcript": ["matcha"]})
    assert list(result.verdict.failures) == ["transcript: 'matcha' is missing"]


async def test_a_server_that_is_not_there_fails_the_call() -> None:
    scenario = Scenario(name="refused", steps=(Say(say="Hi."),))
    plan = Plan([(Path("refused.yaml"), scenario)], [(SLOW, None)], has_reference=False)
    target = UrlTarget(Endpoint("http://127.0.0.1:9/start"))
    (result,) = await Evaluation(plan, MoqDriver, target).run()
    assert result.record.error is not None
    assert result.record.error.startswith("http://127.0.0.1:9/start: ")


def test_records_that_come_again_after_a_reconnect_are_told_from_new_ones() -> None:
    replays = Replays()
    records: list[Any] = [
        {"seq": 0, "epoch": "a"},
        {"seq": 1, "epoch": "a"},
        {"seq": 0, "epoch": "a"},
        {"seq": 2, "epoch": "a"},
        {"seq": 0, "epoch": "b"},
        {"no": "number"},
        "nothing",
    ]
    assert [replays.is_new(each) for each in records] == [True, True, False, True, True, True, True]


def test_an_option_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(EvalError, match="option room: the driver moq knows namespace, client, bot"):
        MoqDriver(Endpoint("https://127.0.0.1:1/moq", options={"room": "a"}))


def test_a_runner_says_where_a_call_takes_place() -> None:
    config = {"relayUrl": "https://relay:4443/moq?jwt=x", "namespace": "n", "clientId": "c", "botId": "b"}
    assert MoqSession.of_runner({"moq": {**config, "certHash": None}}).fingerprint is None
    pinned = MoqSession.of_runner({"moq": {**config, "certHash": base64.b64encode(b"\xab\xcd").decode()}})
    assert (pinned.url, pinned.fingerprint, pinned.messages) == (config["relayUrl"], "abcd", "transcript.json.z")
    with pytest.raises(KeyError):
        MoqSession.of_runner({"sessionId": "1"})

"""Reports of two calls, one of which failed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from voice_eval.call.record import CallRecord, Mark, ToolCall, Track, TranscriptLine, Utterance
from voice_eval.evaluation import Job, Plan, Result
from voice_eval.network.condition import Condition
from voice_eval.report.console import print_results
from voice_eval.report.html import html_page
from voice_eval.report.junit import junit_xml
from voice_eval.report.summary import About, document, summaries
from voice_eval.scenario.model import Expectations, Say, Scenario
from voice_eval.verdict.verdict import judge_call

ABOUT = About("gateway", "agent shop:Waiter", 7, 4, 12.3, "2026-01-01T00:00:00Z", {"voice-eval": "0.1.0"})
SCENARIO = Scenario(name="taro", steps=(Say(say="a <taro>"),), expect=Expectations(transcript=("taro",)))


def result(condition: str, user: str, fault: str | None = None) -> Result:
    played = Track(24_000)
    played.add(2.5, np.full(24_000, 5_000, "<i2").tobytes())
    record = CallRecord(
        played_audio=played,
        utterances=[Utterance(1.0, 2.0, "a taro")],
        lines=[TranscriptLine("user", user)],
        state={"items": ["<b>"]},
        tools=[ToolCall(1.0, "1", "kitchen", {"order": "\x00"})],
        marks=[Mark(1.0, "outage", "nothing passes", 1.5), Mark(1.6, "fault", "worker killed")],
        duration_s=4.0,
    )
    clean = replace(record, lines=[TranscriptLine("user", "a taro")])
    job = Job(SCENARIO, Path(), Condition(name=condition, description="<poor>"), None, fault)
    return Result(job, record, judge_call(SCENARIO, record, names=(), clean=clean))


@pytest.fixture
def results() -> list[Result]:
    return [result("clean", "a taro"), result("train", "a \x0b<tomato>"), result("train", "a taro", "worker")]


def test_a_summary_counts_words_answers_and_calls(results: list[Result]) -> None:
    clean, train, killed = summaries(results)
    assert (clean.condition, clean.passed, clean.words_lost, clean.words) == ("clean", 1, 0, 2)
    assert (train.passed, train.words_lost, train.answer_p50_ms) == (0, 1, pytest.approx(500, abs=1))
    assert (killed.condition, killed.calls) == ("train + worker killed", 1)


def test_the_document_is_json_and_has_all_that_is_needed_to_run_again(results: list[Result]) -> None:
    read = json.loads(json.dumps(document(results, ABOUT)))
    assert read["ok"] is False
    assert read["about"]["seed"] == 7
    assert read["calls"][1]["failures"] == ["transcript: 'taro' is missing"]
    assert read["calls"][1]["words_lost"] == ["taro"]


def test_junit_has_a_suite_for_each_condition_and_a_failure_for_each_call_that_failed(results: list[Result]) -> None:
    suites = ElementTree.fromstring(junit_xml(results, ABOUT).encode())  # noqa: S314 - our own
    assert [(each.get("name"), each.get("failures")) for each in suites] == [
        ("clean", "0"),
        ("train", "1"),
        ("train + worker killed", "0"),
    ]
    (failure,) = suites.findall(".//failure")
    assert failure.get("message") == "transcript: 'taro' is missing"


def test_the_page_escapes_what_was_said_and_draws_each_call(results: list[Result]) -> None:
    page = html_page(results, ABOUT)
    assert page.count("<svg") == 3
    assert "<tomato>" not in page
    assert "&lt;tomato&gt;" in page
    assert "<poor>" not in page
    assert page.count("<details open>") == 1
    assert '<span class="wrong" title="understood: tomato">taro</span>' in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_console_names_failures_and_the_seed(results: list[Result]) -> None:
    console = Console(file=io.StringIO(), width=120)
    print_results(console, results, ABOUT)
    printed = console.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO
    assert "failed  taro[train]: transcript: 'taro' is missing; lost on the network: taro" in printed
    assert "1 of 3 calls failed" in printed
    assert "--seed 7" in printed


def test_jobs_are_scenarios_by_conditions_by_faults_and_a_clean_one_each() -> None:
    conditions = [(Condition(name=name), None) for name in ("train", "lift")]
    plan = Plan([(Path("a.yaml"), SCENARIO)], conditions, (None, "worker"))
    assert [each.name for each in plan.jobs()] == [
        "taro[clean]",
        "taro[train]",
        "taro[train+worker]",
        "taro[lift]",
        "taro[lift+worker]",
    ]
    assert len(replace(plan, has_reference=False).jobs()) == 4

"""From records to verdicts: words, expectations, figures, budgets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from voice_eval.call.record import CallRecord, ToolCall, Track, TranscriptLine, Utterance
from voice_eval.scenario.model import Absent, Budgets, Expectations, Say, Scenario, ToolExpectation
from voice_eval.verdict.figures import measure, percentile
from voice_eval.verdict.rules import broken
from voice_eval.verdict.verdict import judge_call
from voice_eval.verdict.words import align, has_text, lost, words_of


def sound(seconds: float, rate_hz: int = 24_000) -> bytes:
    return np.full(round(seconds * rate_hz), 3_000, "<i2").tobytes()


def record(user: str | None = "a taro with boba", **fields: Any) -> CallRecord:
    made = CallRecord(**fields)
    if user is not None:
        made.lines = [TranscriptLine("agent", "Hi, what can I get you?"), TranscriptLine("user", user)]
    return made


def scenario(said: str = "a taro with boba", **fields: Any) -> Scenario:
    return Scenario(name="s", steps=(Say(say=said),), **fields)


@pytest.mark.parametrize(
    ("said", "recognised", "wrong"),
    [
        ("a taro with boba", "a taro with boba", []),
        ("a taro with boba", "a with boba", ["taro"]),
        ("a taro with boba", "a tomato with boba", ["taro"]),
        ("a taro with boba", "and a taro with a boba", []),
        ("a taro with boba", "", ["a", "taro", "with", "boba"]),
    ],
)
def test_words_are_aligned(said: str, recognised: str, wrong: list[str]) -> None:
    aligned = align(words_of(said), words_of(recognised))
    assert [word.text for word in aligned] == said.split()
    assert [word.text for word in aligned if not word.is_right] == wrong


def test_only_words_that_the_clean_link_had_are_lost_on_the_network() -> None:
    said = words_of("and a large taro")
    assert lost(said, "add a taro", "add a large taro") == ["large"]
    assert lost(said, "add a taro", None) == ["and", "large"]


def test_texts_are_found_apart_from_case_and_punctuation() -> None:
    assert has_text("Hi, what can I get you?", "what CAN i")
    assert not has_text("Hi, what can I get you?", "what I")
    assert has_text("Hi, what can I get you?", "get")


@pytest.mark.parametrize(
    ("expect", "fields", "sentences"),
    [
        (Expectations(transcript=("taro",)), {}, []),
        (Expectations(transcript=("matcha",)), {}, ["transcript: 'matcha' is missing"]),
        (Expectations(answer=("goodbye",)), {}, ["answer: 'goodbye' is missing"]),
        (
            Expectations(transcript=("taro",)),
            {"user": None},
            ["transcript: 'taro' cannot be checked: the driver gets no transcript"],
        ),
        (Expectations(state={"items": [{"drink": "taro"}]}), {"state": {"items": [{"drink": "taro", "n": 1}]}}, []),
        (
            Expectations(state={"items": [{"drink": "taro"}]}),
            {"state": {"items": [{"drink": "chai"}]}},
            ['state.items[0].drink: got "chai", expected "taro"'],
        ),
        (
            Expectations(state={"items": [{"drink": "taro"}]}),
            {"state": {"items": []}},
            ["state.items: got 0 items, expected 1 items"],
        ),
        (Expectations(state={"a": 1}), {"state": {}}, ["state.a: missing, expected 1"]),
        (Expectations(state={"a": 1}), {}, ["state: cannot be checked: the driver gets none"]),
        (Expectations(absent=Absent(transcript=("taro",))), {}, ["absent.transcript: 'taro' is there"]),
        (Expectations(absent=Absent(answer=("what can",))), {}, ["absent.answer: 'what can' is there"]),
        (
            Expectations(absent=Absent(state={"items": {"drink": "taro"}})),
            {"state": {"items": [{"drink": "taro"}]}},
            ['absent.state.items: {"drink": "taro"} is there'],
        ),
        (Expectations(absent=Absent(state={"items": {"drink": "taro"}})), {"state": {"items": []}}, []),
        (Expectations(absent=Absent(tools=("pay",))), {}, ["absent.tools: cannot be checked: the driver sees none"]),
    ],
)
def test_what_does_not_hold_is_a_sentence(expect: Expectations, fields: dict[str, Any], sentences: list[str]) -> None:
    user = fields.pop("user", "a taro with boba") if "user" in fields else "a taro with boba"
    assert broken(expect, record(user, **fields)) == sentences


def calls(*named: tuple[str, dict[str, Any]]) -> list[ToolCall]:
    return [ToolCall(number, f"c{number}", name, arguments) for number, (name, arguments) in enumerate(named)]


@pytest.mark.parametrize(
    ("made", "sentences"),
    [
        (calls(("add", {"item": "taro", "n": 1})), []),
        (calls(), ["tools: add was called not at all, expected once"]),
        (
            calls(("add", {"item": "chai"})),
            ['tools: add was called not at all, expected once, with {"item": "chai"} instead'],
        ),
        (
            calls(("add", {"item": "taro"}), ("add", {"item": "taro"})),
            ["tools: add was called twice, expected once"],
        ),
        (
            calls(("add", {"item": "taro"}), ("pay", {}), ("pay", {})),
            ["tools: pay({}) was called twice"],
        ),
    ],
)
def test_tools_called_wrongly_or_twice_are_named(made: list[ToolCall], sentences: list[str]) -> None:
    expect = Expectations(tools=(ToolExpectation(name="add", arguments={"item": "taro"}),))
    assert broken(expect, record(tools=made)) == sentences


def spoken_call() -> CallRecord:
    """The caller speaks from 1 to 2 s; the answer begins at 2.8 s and is silent from 3.8 to 4.0 s."""
    heard = Track(24_000)
    heard.add(0.0, sound(0.5))
    heard.add(2.8, sound(1.0))
    heard.add(4.0, sound(0.5))
    return replace(record(), played_audio=heard, utterances=[Utterance(1.0, 2.0, "a taro with boba")], duration_s=5.0)


def test_answer_time_is_from_the_last_word_to_the_first_sound() -> None:
    assert measure(spoken_call()).answers_ms == (pytest.approx(800, abs=1),)


def test_silence_counts_within_an_answer_and_not_where_the_caller_speaks() -> None:
    assert measure(spoken_call()).silences_ms == (pytest.approx(200, abs=1),)


def test_an_utterance_without_an_answer_is_unanswered() -> None:
    call = spoken_call()
    call.utterances.append(Utterance(4.6, 4.9, "and a chai"))
    assert measure(call).answers_ms == (pytest.approx(800, abs=1), None)


def test_a_barge_in_is_measured_to_the_agents_silence() -> None:
    call = spoken_call()
    call.utterances.append(Utterance(4.3, 4.6, "no", is_barge_in=True))
    assert measure(call).barge_ins_ms == (pytest.approx(200, abs=1),)


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        ([], 0.5, None),
        ([3.0], 0.99, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
    ],
)
def test_percentiles_are_values_that_occurred(values: list[float], share: float, found: float | None) -> None:
    assert percentile(values, share) == found


@pytest.mark.parametrize(
    ("budgets", "sentences"),
    [
        (Budgets(answer_p50_ms=900, silence_ms=300, words_lost=0, duration_ms=6_000), ()),
        (Budgets(answer_p50_ms=700), ("answer_p50_ms: 800 ms, budget 700",)),
        (Budgets(silence_ms=100), ("silence_ms: 200 ms, budget 100",)),
        (Budgets(duration_ms=4_000), ("duration_ms: 5000 ms, budget 4000",)),
    ],
)
def test_budgets_that_are_exceeded_fail(budgets: Budgets, sentences: tuple[str, ...]) -> None:
    call = spoken_call()
    assert judge_call(scenario(budgets=budgets), call, names=(), clean=call).failures == sentences


def test_words_lost_on_the_network_fail_beyond_the_budget_and_are_named() -> None:
    verdict = judge_call(
        scenario(budgets=Budgets(words_lost=0)), record("a with boba"), names=("train",), clean=record()
    )
    assert verdict.words_lost == ("taro",)
    assert verdict.sentence == "words_lost: 1, budget 0; lost on the network: taro"
    assert judge_call(scenario(), record("a with boba"), names=(), clean=record()).has_passed


def test_without_a_call_on_a_clean_link_nothing_is_blamed_on_the_network() -> None:
    verdict = judge_call(scenario(), record("a with boba"), names=(), clean=None)
    assert verdict.sentence == "not understood: taro"


def test_words_that_are_to_be_ignored_are_not_lost() -> None:
    verdict = judge_call(scenario(ignore_words=("a",)), record("with boba"), names=(), clean=record())
    assert verdict.words_lost == ("taro",)


def test_the_call_on_the_clean_link_loses_nothing_to_the_network() -> None:
    call = record("a with boba")
    assert judge_call(scenario(budgets=Budgets(words_lost=0)), call, names=(), clean=call).words_lost == ()


def test_a_call_that_broke_fails_and_what_fails_on_the_clean_link_is_said() -> None:
    expect = Expectations(transcript=("matcha",))
    verdict = judge_call(scenario(expect=expect), replace(record(), error="gone"), names=(), clean=record())
    assert verdict.failures == ("the call broke: gone", "transcript: 'matcha' is missing")
    assert verdict.sentence.endswith("it fails on the clean link too")

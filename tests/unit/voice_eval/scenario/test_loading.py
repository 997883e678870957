"""Scenario files: what is read, and the sentence for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from voice_eval.errors import ScenarioError
from voice_eval.scenario.loading import load_scenario, load_scenarios, schema
from voice_eval.scenario.model import Budgets, Press, Say

GOOD = """
name: one
steps:
  - say: a taro
  - {say: "stop", barge_in_ms: 300}
  - press: "12#"
expect:
  tools: [{name: add, arguments: {item: taro}}]
budgets: {words_lost: 0}
budgets_under: {lift: {words_lost: 3}}
"""


def written(folder: Path, text: str, name: str = "one.yaml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_scenario_is_read(tmp_path: Path) -> None:
    scenario = load_scenario(written(tmp_path, GOOD))
    assert scenario.steps == (Say(say="a taro"), Say(say="stop", barge_in_ms=300), Press(press="12#"))
    assert scenario.expect.tools[0].arguments == {"item": "taro"}
    assert scenario.budgets_for(None, "clean") == Budgets(words_lost=0)
    assert scenario.budgets_for("worker", "lift") == Budgets(words_lost=3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: a\nsteps: [{sya: hi}]", "steps[0]: got the keys sya: a step has one of say, wav, press, type"),
        ("name: a\nsteps: [{say: hi, wav: x.wav}]", "steps[0]: give either say (a text) or wav (a file), got"),
        (
            "name: a\nsteps: [{press: x}]",
            "steps[0]: press: string should match pattern '^[0-9A-D*#]{1,64}$', got \"x\"",
        ),
        ("name: a\nsteps: [hi]", 'steps[0]: got "hi": give a map such as {say: hello}'),
        ("name: a\nsteps: []", "steps: tuple should have at least 1 item after validation, not 0, got []"),
        ("steps: [{say: hi}]", "name: missing: add it"),
        ("name: a\nsteps: [{say: hi}]\nbudget: {}", "budget: unknown key, value {}: use one of name, description,"),
        (
            "name: a\nsteps: [{say: hi}]\nbudgets: {word_lost: 1}",
            "budgets.word_lost: unknown key, value 1: use one of words_lost, answer_p50_ms",
        ),
        (
            "name: a\nsteps: [{say: hi}]\nbudgets: {words_lost: -1}",
            "budgets.words_lost: input should be greater than or equal to 0, got -1",
        ),
        ("name: a\nsteps: [{say: hi}]\nhas_greeting: 1", "has_greeting: input should be a valid boolean, got 1"),
        ("- a", 'got ["a"]: give a map with the keys of scenario'),
        ("name: [", ":1:8: no YAML: "),
    ],
)
def test_a_mistake_is_named_by_file_key_value_and_remedy(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ScenarioError) as error:
        load_scenario(path)
    assert str(path) in str(error.value)
    assert sentence in str(error.value)


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as error:
        load_scenario(written(tmp_path, "steps: [{say: hi}]\nbudgets: {words_lost: x}\nmore: 1"))
    assert len(str(error.value).splitlines()) == 3


def test_two_scenarios_of_one_name_are_refused(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "a.yaml"), written(tmp_path, GOOD, "b.yaml")
    with pytest.raises(ScenarioError, match=r"name: 'one' is that of .*a.yaml too: give each its own"):
        load_scenarios([str(tmp_path)])


def test_a_name_that_is_nothing_says_what_there_is() -> None:
    with pytest.raises(ScenarioError, match="no such file, folder or set: give a YAML file, a folder or orders"):
        load_scenarios(["ordres"])


def test_the_bundled_orders_are_twenty_and_each_judges_something() -> None:
    scenarios = [scenario for _, scenario in load_scenarios(["orders"])]
    assert len(scenarios) == 20
    assert all(each.expect.state and each.expect.transcript for each in scenarios)


def test_the_schema_has_every_key_of_a_scenario() -> None:
    document = schema()
    assert {"name", "steps", "expect", "budgets"} <= set(document["properties"])
    assert document["additionalProperties"] is False

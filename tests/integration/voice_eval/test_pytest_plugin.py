"""Scenario files as tests of pytest, called through the Pipecat driver."""

from __future__ import annotations

import pytest

from tests.integration.voice_eval.pipeline import pipeline

pytest_plugins = ["pytester"]
QUIET = ("-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function")
SCENARIO = """
name: {name}
has_greeting: false
steps: [{{say: "A small taro."}}]
tools: [{{name: kitchen, result: done}}]
expect:
  transcript: [{word}]
  state: {{items: ["a small taro"]}}
  tools: [{{name: kitchen, arguments: {{order: "a small taro"}}}}]
  answer: [one taro]
"""


def test_each_scenario_and_condition_is_a_test_and_the_verdict_is_what_fails(pytester: pytest.Pytester) -> None:
    pytester.makefile(".voice.yaml", good=SCENARIO.format(name="good", word="taro"))
    pytester.makefile(".voice.yaml", bad=SCENARIO.format(name="bad", word="matcha"))
    with pipeline() as url:
        options = ("--voice-url", url, "--voice-driver", "pipecat", "--voice-conditions", "satellite")
        result = pytester.runpytest_inprocess("-v", *QUIET, "--voice-seed", "3", *options)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "voice-eval: --voice-seed 3",
            "*bad.voice.yaml::bad?clean? FAILED*",
            "*bad.voice.yaml::bad?satellite? FAILED*",
            "*good.voice.yaml::good?clean? PASSED*",
            "*good.voice.yaml::good?satellite? PASSED*",
            "transcript: 'matcha' is missing",
        ]
    )


def test_a_mistake_in_a_scenario_is_an_error_of_its_collection(pytester: pytest.Pytester) -> None:
    pytester.makefile(".voice.yaml", typo="name: typo\nsteps: [{sya: hi}]")
    result = pytester.runpytest_inprocess(*QUIET, "--voice-url", "ws://127.0.0.1:9")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*typo.voice.yaml: steps?0?: got the keys sya: a step has one of say*"])


def test_nothing_is_collected_without_an_agent_or_url(pytester: pytest.Pytester) -> None:
    pytester.makefile(".voice.yaml", good=SCENARIO.format(name="good", word="taro"))
    assert pytester.runpytest_inprocess(*QUIET).ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_options_in_a_settings_file_and_conditions_of_a_file_are_taken(pytester: pytest.Pytester) -> None:
    pytester.makefile(".voice.yaml", good=SCENARIO.format(name="good", word="taro"))
    pytester.makefile(".yaml", mine="- {name: cellar, description: far away, up: {delay_ms: 120}}")
    pytester.makeini("[pytest]\nvoice_option =\n    uplink=reliable\n    room=1\n")
    given = ("--voice-condition-file", "mine.yaml", "--voice-conditions", "cellar", "--voice-token-file", "token.txt")
    call = ("-v", *QUIET, "--voice-url", "https://127.0.0.1:9", *given)
    result = pytester.runpytest_inprocess(*call)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*good.voice.yaml::good?cellar? FAILED*", "*--voice-token-file token.txt: no such*"])
    pytester.maketxtfile(token="secret")
    result = pytester.runpytest_inprocess(*call)
    result.stdout.fnmatch_lines(["*voice-eval: *room*"])
    result.stdout.no_fnmatch_line("*secret*")

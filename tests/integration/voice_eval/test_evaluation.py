"""Scenarios through real workers: one that passes on a bad network, and one that must fail."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from voice_eval.cli import main

ROOT = Path(__file__).parents[3]
AGENT = "tests.integration.voice_eval.waiter:Waiter"
GOOD = """
name: good
steps: [{say: "One small taro milk tea."}]
tools: [{name: kitchen, result: done}]
expect:
  transcript: [taro]
  answer: [anything else]
  state: {items: ["one small taro milk tea"]}
  tools: [{name: kitchen, arguments: {order: "one small taro milk tea"}}]
  absent: {transcript: [matcha], answer: [sorry], tools: [pay]}
budgets: {words_lost: 0}
"""
BAD = """
name: bad
steps: [{say: "One large matcha latte."}]
tools: [{name: kitchen, result: done}]
expect:
  transcript: [taro]
  state: {items: []}
  tools: [{name: kitchen, times: 2}]
  absent: {transcript: [matcha]}
budgets: {answer_p50_ms: 1}
"""


def test_a_good_scenario_passes_on_a_bad_network_and_a_bad_one_fails_on_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    reports = {name: tmp_path / f"report.{name}" for name in ("json", "junit", "html")}
    files = [argument for name, path in reports.items() for argument in (f"--{name}", str(path))]
    options = ["--agent", AGENT, "--path", str(ROOT), "--conditions", "blackout-2s", "--seed", "7", *files]
    monkeypatch.setattr("sys.argv", ["voice-eval", "run", str(tmp_path), *options])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().out
    assert ended.value.code == 1, printed
    document = json.loads(reports["json"].read_text())
    verdicts = {each["name"]: each["passed"] for each in document["calls"]}
    assert verdicts == {
        "bad[clean]": False,
        "good[clean]": True,
        "bad[blackout-2s]": False,
        "good[blackout-2s]": True,
    }, printed
    (bad,) = (each for each in document["calls"] if each["name"] == "bad[clean]")
    assert [each.split(":")[0] for each in bad["failures"]] == [
        "transcript",
        "state.items",
        "tools",
        "absent.transcript",
        "answer_p50_ms",
    ]
    (good,) = (each for each in document["calls"] if each["name"] == "good[blackout-2s]")
    assert good["marks"][0]["kind"] == "outage"
    assert good["words_lost"] == []
    suites = ElementTree.fromstring(reports["junit"].read_text())  # noqa: S314 - our own
    assert [(each.get("tests"), each.get("failures")) for each in suites] == [("2", "1"), ("2", "1")]
    page = reports["html"].read_text()
    assert page.count("<svg") == 4
    assert "2 of 4 calls failed" in page
    assert "--seed 7" in printed

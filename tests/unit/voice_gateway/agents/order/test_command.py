"""`python -m voice_gateway.agents.order`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from voice_gateway.agents.order.command import app, main


def test_the_menu_lists_drinks_and_prices() -> None:
    output = CliRunner().invoke(app).output
    assert "milk tea" in output
    assert "$" in output


def test_json_is_the_menu() -> None:
    shown = json.loads(CliRunner().invoke(app, ["--json"]).output)
    assert {"drink", "size", "milk", "topping", "sugar", "ice"} <= shown.keys()


def test_a_missing_file_is_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["order", "--file", "none.toml"])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (1, "")
    assert captured.err == "voice_gateway.agents.order: none.toml: no such file or directory\n"

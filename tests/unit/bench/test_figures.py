"""Results that a run goes on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import figures


def test_results_of_another_commit_are_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(figures, "commit", lambda: "one")
    figures.save("trial", {"cells": [1]}, "table", is_shown=False)
    assert figures.saved("trial")["cells"] == [1]
    monkeypatch.setattr(figures, "commit", lambda: "two")
    assert figures.saved("trial") == {}
    assert figures.saved("another") == {}

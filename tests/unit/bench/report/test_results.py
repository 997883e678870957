"""Results on disk, and which of them need not be made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.report.pages import as_html, as_markdown
from bench.report.results import Run, is_current, is_longer, read_results, read_runs, write_runs

RUN = Run("abc", is_quick=False, seconds=9.0)


def test_results_are_read_by_name_and_what_is_broken_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "lb").mkdir()
    (tmp_path / "moving.json").write_text('{"events": {}}')
    (tmp_path / "lb" / "results.json").write_text('{"rounds": 1}')
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    write_runs(tmp_path, {"moving": RUN})
    assert read_results(tmp_path) == {"moving": {"events": {}}, "lb": {"rounds": 1}}


def test_runs_survive_being_written(tmp_path: Path) -> None:
    write_runs(tmp_path / "new", {"moving": RUN})
    assert read_runs(tmp_path / "new") == {"moving": RUN}


def test_no_log_or_a_broken_one_means_that_nothing_was_run(tmp_path: Path) -> None:
    assert read_runs(tmp_path) == {}
    (tmp_path / "runs.json").write_text('{"moving": {"other": 1}}')
    assert read_runs(tmp_path) == {}


@pytest.mark.parametrize(
    ("run", "commit", "is_quick", "has_result", "expected"),
    [
        (RUN, "abc", False, True, True),
        (RUN, "abc", True, True, True),
        (RUN, "abd", False, True, False),
        (RUN, "abc", False, False, False),
        (None, "abc", False, True, False),
        (Run("abc", is_quick=True, seconds=1), "abc", True, True, True),
        (Run("abc", is_quick=True, seconds=1), "abc", False, True, False),
        (Run("abc-dirty", is_quick=False, seconds=1), "abc-dirty", False, True, False),
    ],
)
def test_benchmark_runs_again_unless_this_commit_has_a_run_as_good(
    run: Run | None, commit: str, is_quick: bool, has_result: bool, expected: bool
) -> None:
    assert is_current(run, commit, is_quick=is_quick, has_result=has_result) is expected


@pytest.mark.parametrize(
    ("run", "document", "commit", "options", "expected"),
    [
        (None, {"commit": "abc"}, "abc", ("--quick",), True),
        (Run("old", is_quick=False, seconds=1), {"commit": "abc"}, "abc", ("--quick",), True),
        (None, {"commit": "abc"}, "abc", (), False),
        (None, {"commit": "abc", "is_quick": True}, "abc", ("--quick",), False),
        (None, {"commit": "old"}, "abc", ("--quick",), False),
        (None, {"commit": "abc-dirty"}, "abc-dirty", ("--quick",), False),
        (None, None, "abc", ("--quick",), False),
        (Run("abc-failed", is_quick=False, seconds=1), {"commit": "abc"}, "abc", ("--quick",), False),
    ],
)
def test_quick_run_does_not_take_the_place_of_a_longer_one(
    run: Run | None, document: dict[str, Any] | None, commit: str, options: tuple[str, ...], *, expected: bool
) -> None:
    assert is_longer(run, document, commit, options) is expected


def test_page_names_what_is_of_another_commit(tmp_path: Path) -> None:
    (tmp_path / "soak.md").write_text("| a |\n| --- |\n| <b> |\n")
    markdown = as_markdown(tmp_path, {"soak": {"commit": "old"}}, {}, "new", [])
    assert "Of another commit: `old`" in markdown
    page = as_html(markdown)
    assert "<td>&lt;b&gt;</td>" in page
    assert "not measured</td>" in page

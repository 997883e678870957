"""The plan of all benchmarks: commands that exist, minutes that fit, and the README's figures among them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.report.plan import BUDGET_MINUTES, PLAN, Bench, asked
from bench.report.sections import SECTIONS
from bench.report.sections.quoted import QUOTED

ROOT = Path(__file__).parents[4]
MAKEFILE = (ROOT / "Makefile").read_text()
NOT_BENCHMARKS = {"bench-report", "bench-calls"}
"""The report itself, and a former name."""


def test_every_benchmark_of_the_makefile_is_in_the_plan_once() -> None:
    targets = set(re.findall(r"^(bench-[a-z-]+):", MAKEFILE, re.MULTILINE)) - NOT_BENCHMARKS
    assert sorted(each.target for each in PLAN) == sorted(targets)


@pytest.mark.parametrize("bench", PLAN, ids=lambda each: each.name)
def test_command_runs_the_module_that_leaves_the_result(bench: Bench) -> None:
    module = bench.module
    assert find_spec(module) is not None
    recipe = re.search(rf"^{bench.target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    assert re.search(rf"-m {re.escape(module)}(\s|$)", recipe[1])


@pytest.mark.parametrize("is_quick", [False, True])
def test_minutes_of_make_bench_fit_its_budget(*, is_quick: bool) -> None:
    minutes = sum(each.minutes for each in asked(is_quick=is_quick).values())
    assert minutes <= (6 if is_quick else BUDGET_MINUTES)


def test_make_bench_has_capacity_and_audio_and_quick_leaves_them_out() -> None:
    full, quick = ({each.name for each in asked(is_quick=is_quick)} for is_quick in (False, True))
    assert {"capacity", "audio", "lb", "lb-faults"} <= full
    assert quick < full
    assert not {"capacity", "audio"} & quick


def test_every_performance_row_of_the_readme_is_quoted_by_the_report() -> None:
    readme = (ROOT / "README.md").read_text()
    section = readme.split("## Performance\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    commands = [re.search(r"`make (bench-[a-z-]+)[^`]*` \|$", row) for row in rows]
    assert len(rows) >= 5
    assert all(commands), rows
    quoted = {each.target for each in PLAN if each.name in QUOTED}
    assert {command[1] for command in commands if command} <= quoted


def test_sections_and_quoted_figures_are_of_benchmarks_of_the_plan() -> None:
    assert {*SECTIONS, *QUOTED} <= {each.name for each in PLAN}

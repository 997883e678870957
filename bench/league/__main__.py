"""The league table: the same 20 spoken orders over the same links through each implementation that is installed.

`python -m bench.league [--orders N] [--conditions a,b] [--parallel N] [--seed N]`. The order agent's recogniser,
dialogue and voice are the same everywhere. Writes `bench/results/league.json` and prints the table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.figures import commit
from bench.league.implementations import IMPLEMENTATIONS, Implementation
from voice_eval.evaluation import Evaluation, Plan, Result
from voice_eval.network.condition import choose_conditions
from voice_eval.report.console import shown_ms
from voice_eval.report.summary import summaries
from voice_eval.scenario.loading import load_scenarios
from voice_eval.verdict.figures import percentile

RESULTS: Final = Path(__file__).parents[1] / "results"
CONDITIONS: Final = "clean,bursts-3,blackout-2s,handover-5g"
_BACK: Final = ("resumed", "reconnected")


@dataclass(frozen=True, slots=True)
class Row:
    """One implementation under one condition, or with its process killed: `recovery_p50_ms` is to the call's return."""

    implementation: str
    version: str
    condition: str
    calls: int
    orders_right: int
    words: int
    words_lost: int
    unanswered: int
    answer_p50_ms: float | None
    answer_p99_ms: float | None
    silence_ms: float
    broken: int
    recovered: int | None = None
    recovery_p50_ms: float | None = None


async def measure(implementation: Implementation, options: argparse.Namespace) -> list[Row]:
    """Make all calls of one implementation."""
    scenarios = load_scenarios(["orders"])[: options.orders]
    conditions = choose_conditions(options.conditions.split(","))
    driver = implementation.driver_class()
    parallel = min(options.parallel, implementation.most_at_once)
    plan = Plan(scenarios, conditions, (None,), seed=options.seed, parallel=parallel)
    async with implementation.target() as target:
        results = await Evaluation(plan, driver, target).run()
        clean = choose_conditions(["clean"])
        killed = Plan(
            scenarios[: options.kills],
            clean,
            (implementation.fault,),
            seed=options.seed,
            parallel=parallel,
            has_reference=True,
        )
        struck = [each for each in await Evaluation(killed, driver, target).run() if each.job.fault is not None]
    return [*rows(implementation, results), *rows(implementation, struck)]


def rows(implementation: Implementation, results: Sequence[Result]) -> list[Row]:
    """Return a row for each condition."""
    made = []
    for line in summaries(results):
        of_line = [each for each in results if _label(each) == line.condition]
        recoveries = [found for each in of_line if (found := recovery_ms(each)) is not None]
        is_struck = of_line[0].job.fault is not None
        made.append(
            Row(
                implementation.name,
                implementation.version,
                "killed with SIGKILL" if is_struck else line.condition,
                line.calls,
                sum(not any("state" in failure for failure in each.verdict.failures) for each in of_line),
                line.words,
                line.words_lost,
                line.unanswered,
                line.answer_p50_ms,
                line.answer_p99_ms,
                line.silence_ms,
                line.broken,
                len(recoveries) if is_struck else None,
                percentile(recoveries, 0.5) if is_struck else None,
            )
        )
    return made


def recovery_ms(result: Result) -> float | None:
    """From the kill to the first sign that the call goes on, `None` where there is none."""
    kills = [mark.at_s for mark in result.record.marks if mark.kind == "fault"]
    if not kills:
        return None
    back = [mark.at_s for mark in result.record.marks if mark.kind in _BACK and mark.at_s > kills[0]]
    return round((back[0] - kills[0]) * 1000, 1) if back else None


def _label(result: Result) -> str:
    fault = result.job.fault
    return result.job.condition.name + ("" if fault is None else f" + {fault} killed")


def shown(found: Sequence[Row]) -> Table:
    """The table, a block for each implementation."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("implementation", "condition"):
        table.add_column(name, no_wrap=True)
    for name in ("orders right", "words lost", "answer p50", "p99", "unanswered", "silence", "back after"):
        table.add_column(name, justify="right", no_wrap=True)
    last = ""
    for row in found:
        back = "" if row.recovered is None else f"{shown_ms(row.recovery_p50_ms)} ({row.recovered}/{row.calls})"
        table.add_row(
            "" if row.implementation == last else f"{row.implementation} ({row.version})",
            row.condition,
            f"{row.orders_right}/{row.calls}",
            f"{row.words_lost}/{row.words}",
            shown_ms(row.answer_p50_ms),
            shown_ms(row.answer_p99_ms),
            str(row.unanswered),
            shown_ms(row.silence_ms),
            back,
        )
        last = row.implementation
    return table


def calls_per_core() -> str | None:
    """What `make bench-capacity` found, if it ran here."""
    file = RESULTS / "capacity.json"
    return None if not file.is_file() else f"calls a core: see {file.name}, made by `make bench-capacity`"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.league", description="the league table")
    parser.add_argument("--orders", type=int, default=20, help="how many of the 20 orders")
    parser.add_argument("--kills", type=int, default=8, help="how many calls are struck by a kill")
    parser.add_argument("--conditions", default=CONDITIONS)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="implementations whose name has this text")
    options = parser.parse_args()
    console = Console(highlight=False, width=170)
    found: list[Row] = []
    for implementation in IMPLEMENTATIONS:
        if options.only.lower() not in implementation.name.lower():
            continue
        if not implementation.is_installed:
            console.print(f"{implementation.name}: not installed, left out")
            continue
        found += asyncio.run(measure(implementation, options))
        _write(found, options)
    console.print(shown(found))
    console.print(f"{datetime.now(UTC):%Y-%m-%d}, {options.orders} orders, seed {options.seed}, loopback relays")
    if (capacity := calls_per_core()) is not None:
        console.print(capacity)


def _write(found: Sequence[Row], options: argparse.Namespace) -> None:
    RESULTS.mkdir(exist_ok=True)
    document = {
        "commit": commit(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "options": vars(options),
        "rows": [asdict(row) for row in found],
    }
    (RESULTS / "league.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()

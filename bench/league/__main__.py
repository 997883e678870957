"""The league table: the same 20 spoken orders over the same links through each implementation that is installed.

`python -m bench.league [--orders N] [--conditions a,b] [--parallel N] [--seed N]`. The order agent's recogniser,
dialogue and voice are the same everywhere. Writes `league.json` and `league.md` in bench/results, and prints the table.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final

from bench.figures import save, table
from bench.league.implementations import IMPLEMENTATIONS, Implementation
from bench.league.processor_time import server_cpu_s
from voice_eval.evaluation import Evaluation, Plan, Result
from voice_eval.network.condition import CLEAN, choose_conditions
from voice_eval.report.console import shown_ms
from voice_eval.report.summary import summaries
from voice_eval.scenario.loading import load_scenarios
from voice_eval.verdict.figures import percentile

NAME: Final = "league"
CONDITIONS: Final = "bursts-3,blackout-2s"
HEADER: Final = (
    "",
    "Condition",
    "Orders right",
    "Words lost",
    "Answer p50 / p99",
    "Never answered",
    "Silence in answers",
    "Back after",
    "Calls per core",
    "Callers late, p99",
)
_BACK: Final = ("resumed", "reconnected")


@dataclass(frozen=True, slots=True)
class Row:
    """One implementation under one condition, or with its process killed: `recovery_p50_ms` is to the call's return.

    `cpu_s_per_call_s` is of all processes of the server, its agents and recognisers too, in the calls of the row, from
    dialling to hanging up; only those on the clean link are counted.
    """

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
    cpu_s_per_call_s: float | None = None
    caller_late_p99_ms: float | None = None

    @property
    def calls_per_core(self) -> float | None:
        return round(1 / self.cpu_s_per_call_s, 1) if self.cpu_s_per_call_s else None


async def measure(implementation: Implementation, options: argparse.Namespace) -> list[Row]:
    """Make all calls of one implementation: those on the clean link first and alone, as their CPU time is counted."""
    scenarios = load_scenarios(["orders"])[: options.orders]
    driver = implementation.driver_class()
    clean = Plan(
        scenarios,
        choose_conditions([CLEAN]),
        seed=options.seed,
        parallel=min(options.parallel, implementation.most_at_once),
    )
    poor = replace(clean, conditions=choose_conditions(options.conditions.split(",")))
    killed = replace(clean, scenarios=scenarios[: options.kills], faults=(implementation.fault,))
    async with implementation.target() as target:
        before_s = server_cpu_s()
        results = await Evaluation(clean, driver, target).run()
        cpu_s = server_cpu_s() - before_s
        known = {each.job.name: each.record for each in results}
        call_s = sum(record.duration_s for record in known.values())
        first = [replace(each, cpu_s_per_call_s=round(cpu_s / call_s, 4)) for each in rows(implementation, results)]
        for plan in (poor, killed):
            made = await Evaluation(plan, driver, target, known=known).run()
            first += rows(implementation, [each for each in made if not each.job.is_clean])
    return first


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
                caller_late_p99_ms=line.caller_late_p99_ms,
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


def shown(found: Sequence[Row], about: str) -> str:
    """The table in Markdown, a block for each implementation, and how it came about."""
    cells = []
    last = ""
    for row in found:
        back = "" if row.recovered is None else f"{shown_ms(row.recovery_p50_ms)}, {row.recovered} of {row.calls}"
        cells.append(
            (
                "" if row.implementation == last else f"{row.implementation} ({row.version})",
                row.condition,
                f"{row.orders_right} of {row.calls}",
                f"{row.words_lost} of {row.words}",
                f"{shown_ms(row.answer_p50_ms)} / {shown_ms(row.answer_p99_ms)}",
                row.unanswered,
                shown_ms(row.silence_ms),
                back,
                "" if row.calls_per_core is None else row.calls_per_core,
                shown_ms(row.caller_late_p99_ms),
            )
        )
        last = row.implementation
    return f"{about}\n\n{table(HEADER, cells)}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.league", description="the league table")
    parser.add_argument("--orders", type=int, default=20, help="how many of the 20 orders")
    parser.add_argument("--kills", type=int, default=4, help="how many calls are struck by a kill")
    parser.add_argument("--conditions", default=CONDITIONS, help="beside the clean link")
    parser.add_argument("--parallel", type=int, default=6, help="calls at once, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="implementations whose name has this text")
    options = parser.parse_args()
    found: list[Row] = []
    began = time.monotonic()
    for implementation in IMPLEMENTATIONS:
        if options.only.lower() not in implementation.name.lower():
            continue
        if missing := implementation.missing:
            print(f"{implementation.name}: {missing} is not installed, left out", flush=True)
            continue
        found += asyncio.run(measure(implementation, options))
        _save(found, options, time.monotonic() - began)
    if found:
        print(_save(found, options, time.monotonic() - began))


def _save(found: Sequence[Row], options: argparse.Namespace, took_s: float) -> str:
    """Write what there is so far, and return the table."""
    command = shlex.join(["python", "-m", "bench.league", *sys.argv[1:]])
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    about = (
        f"`{command}`, {date}, {options.orders} orders, {options.kills} kills, seed {options.seed}, "
        f"at most {options.parallel} calls at once, {took_s / 60:.0f} min."
    )
    document = {
        "date": date,
        "command": command,
        "options": vars(options),
        "took_s": round(took_s),
        "rows": [{**asdict(row), "calls_per_core": row.calls_per_core} for row in found],
    }
    text = shown(found, about)
    save(NAME, document, text, is_shown=False)
    return text


if __name__ == "__main__":
    main()

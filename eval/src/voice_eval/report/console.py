"""The table and the failures, as they are printed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from voice_eval.evaluation import Result
from voice_eval.report.summary import About, summaries


def print_results(console: Console, results: Sequence[Result], about: About) -> None:
    """Print a line for each failed call, the table, and what it takes to run it again."""
    for each in results:
        if not each.verdict.has_passed:
            console.print("[red]failed[/]  ", end="")
            console.print(f"{each.job.name}: {each.verdict.sentence}", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("condition")
    for name in ("passed", "words lost", "answer p50", "p99", "unanswered", "silence", "twice", "broken"):
        table.add_column(name, justify="right")
    for line in summaries(results):
        table.add_row(
            line.condition,
            f"{line.passed}/{line.calls}",
            f"{line.words_lost}/{line.words}",
            shown_ms(line.answer_p50_ms),
            shown_ms(line.answer_p99_ms),
            str(line.unanswered),
            shown_ms(line.silence_ms),
            str(line.tools_doubled),
            str(line.broken),
        )
    console.width = max(console.width, 110)
    console.print(table)
    failed = sum(not each.verdict.has_passed for each in results)
    verdict = "[green]passed[/]" if not failed else f"[red]{failed} of {len(results)} calls failed[/]"
    console.print(
        f"{verdict}   {len(results)} calls in {about.took_s:.0f} s; the same links again: --seed {about.seed}"
    )


def shown_ms(value: float | None) -> str:
    """A time for people."""
    return "-" if value is None else f"{value:,.0f} ms"

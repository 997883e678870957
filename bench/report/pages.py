"""The report as Markdown, and the same as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt

from bench.figures import table
from bench.report.advantages import advantages
from bench.report.claims import Finding, Verdict, findings
from bench.report.plan import BUDGET_MINUTES, PLAN, Amount, Bench
from bench.report.results import Run
from bench.report.sections import SECTIONS
from bench.report.sections.quoted import UNREADABLE, quoted, unreadable

_COLOURS: Final = {
    Verdict.HOLDS: "#1a7f37",
    Verdict.HOLDS_AS: "#9a6700",
    Verdict.FAILS: "#cf222e",
    Verdict.UNMEASURED: "#57606a",
}
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1f2328; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { border: 1px solid #d0d7de; padding: .3rem .6rem; text-align: left; vertical-align: top; }
th { background: #f6f8fa; } img { max-width: 100%; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d0d7de; }
"""


def as_markdown(
    folder: Path, results: Mapping[str, Any], runs: Mapping[str, Run], commit: str, pictures: Sequence[str]
) -> str:
    """Conclusions, where a peer does better, what each benchmark found, the plan, and the tables they printed."""
    verdicts = findings(results)
    better = advantages(results)
    parts = [
        "# The claims, measured",
        f"Commit `{commit}`. Every verdict follows from the figures below by a rule in `bench/report/claims.py`.",
        table(["claim", "verdict", "figures"], [[each.claim, each.verdict.value, each.because] for each in verdicts]),
        "## Where a peer does better",
        "\n".join(f"- {each}" for each in better) or "In no figure that is compared here.",
        "## The figures that the README quotes",
        quoted(results, {each.name: each.target for each in PLAN}),
    ]
    parts += [_picture(name) for name in pictures]
    parts += [_section(folder, each, results, runs, commit) for each in PLAN if each.name in SECTIONS]
    parts += [_peers(results), _plan(results, runs), "## The tables that each benchmark printed"]
    parts += [_benchmark(folder, name, results[name], runs.get(name), commit) for name in results]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_html(markdown: str) -> str:
    """One page without scripts; pictures lie beside it."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    for verdict, colour in _COLOURS.items():
        cell = f"<td>{verdict.value}</td>"
        body = body.replace(cell, f'<td style="color: {colour}; font-weight: 600">{verdict.value}</td>')
    head = f'<meta charset="utf-8"><title>The claims, measured</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}</body></html>\n'


def summary_line(found: Sequence[Finding]) -> str:
    """One line for the terminal: how many claims have which verdict."""
    return ", ".join(
        f"{sum(each.verdict is verdict for each in found)} {verdict.value}"
        for verdict in Verdict
        if any(each.verdict is verdict for each in found)
    )


def _section(folder: Path, bench: Bench, results: Mapping[str, Any], runs: Mapping[str, Run], commit: str) -> str:
    heading = f"## {bench.title}"
    name = next((each for each in (bench.name, f"{bench.name}-quick") if each in results), None)
    if name is None:
        return f"{heading}\n\nNot measured; command: `make {bench.target}`."
    try:
        text = SECTIONS[bench.name](results[name])
    except UNREADABLE as error:
        return f"{heading}\n\nNot shown: {unreadable(error)}; command: `make {bench.target}`."
    quick = " A quick run." if name != bench.name else ""
    origin = f"Command: `make {bench.target}`.{_origin(results[name], runs.get(name), commit)}{quick}"
    found = [path.relative_to(folder).as_posix() for each in bench.pictures for path in sorted(folder.glob(each))]
    return "\n\n".join([heading, origin, text, *map(_picture, found)])


def _picture(name: str) -> str:
    return f"![{Path(name).stem}]({name})"


def _plan(results: Mapping[str, Any], runs: Mapping[str, Run]) -> str:
    rows = [
        [
            each.title,
            f"make {each.target}",
            each.minutes,
            _amount(each.full),
            _amount(each.quick),
            f"{runs[each.name].seconds / 60:.1f}" if each.name in runs else "",
            "yes" if each.name in results or f"{each.name}-quick" in results else "not measured",
        ]
        for each in PLAN
    ]
    header = [
        "benchmark",
        "command",
        "its minutes",
        "of `make bench`",
        "of `QUICK=1`",
        "took here, minutes",
        "has a result",
    ]
    note = (
        f"`make bench` may take {BUDGET_MINUTES} minutes on two cores, once everything is built. Of the long ones it "
        "runs a shorter form or nothing; their own commands run them whole. Minutes are budgets; beside them is what "
        "the last run by `make bench` took. `QUICK=1` leaves out those without minutes in its column."
    )
    return f"## The plan\n\n{note}\n\n{table(header, rows)}"


def _amount(amount: Amount | None) -> str:
    if amount is None:
        return "left out"
    return f"{amount.minutes} ({' '.join(amount.options)})" if amount.options else str(amount.minutes)


def _peers(results: Mapping[str, Any]) -> str:
    peers = {way: each for document in results.values() for way, each in document.get("peers", {}).items()}
    if not peers:
        return ""
    return "## The peers\n\n" + table(
        ["way", "version", "tuned"], [[way, each["version"], each["tuned"]] for way, each in peers.items()]
    )


def _benchmark(folder: Path, name: str, document: Mapping[str, Any], run: Run | None, commit: str) -> str:
    path = folder / f"{name}.md"
    if not path.exists():
        path = folder / name / "report.md"
    if not path.exists():
        return ""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# ")]
    origin = _origin(document, run, commit).strip()
    return "\n\n".join([f"### {name}", *([origin] if origin else []), "\n".join(lines).strip()])


def _origin(document: Mapping[str, Any], run: Run | None, commit: str) -> str:
    """Say whether a result is of another commit, or quick."""
    made = document.get("commit", run.commit if run else "unknown")
    note = "" if made == commit else f" Of another commit: `{made}`."
    is_quick = document.get("is_quick", run is not None and run.is_quick)
    return note + (" A quick run." if is_quick else "")

"""The report as Markdown, and the same as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt

from bench.figures import table
from bench.report.advantages import advantages
from bench.report.claims import Finding, Verdict, findings
from bench.report.results import Run

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
    """Conclusions first, then where a peer does better, then each benchmark as it printed itself."""
    verdicts = findings(results)
    better = advantages(results)
    parts = [
        "# The claims, measured",
        f"Commit `{commit}`. Every verdict follows from the figures below by a rule in `bench/report/claims.py`.",
        table(["claim", "verdict", "figures"], [[each.claim, each.verdict.value, each.because] for each in verdicts]),
        "## Where a peer does better",
        "\n".join(f"- {each}" for each in better) or "In no figure that is compared here.",
        "## The figures that the README quotes",
        _quoted(results),
    ]
    parts += [f"![{Path(name).stem}]({name})" for name in pictures]
    parts += [_peers(results), "## Each benchmark"]
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


def _quoted(results: Mapping[str, Any]) -> str:
    rows: list[list[object]] = []
    if "setup_time" in results:
        ways = results["setup_time"]["ways"]
        cells = "; ".join(f"{way} {each['round_trips']['there']:.1f}" for way, each in ways.items())
        rows.append(["round trips to a call's first audio byte", cells, "make bench-setup"])
    if "answering" in results:
        silences = results["answering"]["silence_ms"]
        cells = "; ".join(f"{way} {each['1']['median']:.0f} ms" for way, each in silences.items())
        rows.append(["silence in an answer, outage of 1 s", cells, "make bench-answering"])
    if "moving" in results:
        event = results["moving"]["events"]["new network"]
        cells = "; ".join(
            f"{way} {each['gap_ms']['median']:.0f} ms, {each['frames_lost']} lost" for way, each in event.items()
        )
        rows.append(["gap and frames lost at a new network", cells, "make bench-moving"])
    return table(["what", "figure", "command"], rows) if rows else "None has been measured."


def _peers(results: Mapping[str, Any]) -> str:
    peers = {way: each for document in results.values() for way, each in document.get("peers", {}).items()}
    if not peers:
        return ""
    return "## The peers\n\n" + table(
        ["way", "version", "tuned"], [[way, each["version"], each["tuned"]] for way, each in peers.items()]
    )


def _benchmark(folder: Path, name: str, document: Mapping[str, Any], run: Run | None, commit: str) -> str:
    made = document.get("commit", run.commit if run else "unknown")
    note = "" if made == commit else f" Of another commit: `{made}`."
    quick = " A quick run." if document.get("is_quick", run is not None and run.is_quick) else ""
    path = folder / f"{name}.md"
    if not path.exists():
        path = folder / name / "report.md"
    text = path.read_text() if path.exists() else "It left no table."
    lines = [line for line in text.splitlines() if not line.startswith("# ")]
    return f"### {name}\n\n{note}{quick}\n\n".replace("\n\n\n\n", "\n\n") + "\n".join(lines).strip()

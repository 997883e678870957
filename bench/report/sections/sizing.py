"""What a worker carries beside other servers, and how true the model of many workers is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.capacity.report import Findings, servers_table, sizing_rows, trust
from bench.capacity.runs.alternation import ratios
from bench.capacity.under_load import under_load
from bench.figures import table
from bench.report.advantages import advantages


def capacity(document: Mapping[str, Any]) -> str:
    """All servers of one run, those that are better than the gateway, and the sizing table."""
    found = Findings.from_document(document["findings"])
    parts = [trust(found)]
    if len(found.windows) == 2:
        spread = ratios(found.windows[0], found.windows[1])
        parts.append(
            f"CPU of {found.names[0]} by that of {found.names[1]}, in alternating windows: "
            f"{spread.text(3)}, n = {spread.n} pairs"
        )
    if found.surveys:
        better = advantages({"capacity": document})
        parts += [servers_table(found), under_load(found.surveys), "Where a server is better than the best of ours:"]
        parts.append("\n".join(f"- {each}" for each in better) or "- in nothing of this table")
    if sizes := sizing_rows(found):
        parts.append(table(["cores (one worker each)", "sessions", "memory", "of it measured"], sizes))
    parts += [f"- Missing: {name}: {reason}" for name, reason in found.missing.items()]
    return "\n\n".join(parts)


def scale(document: Mapping[str, Any]) -> str:
    """Every check of the model: what it says, what was found, and the error."""
    rows = [
        [each["what"], f"{each['model']:.4g}", f"{each['found']:.4g}", each["n"], f"{each['error']:+.1%}"]
        for each in document["checks"]
    ]
    text = "Computed, not run. The model is checked against these runs:\n\n"
    text += table(["what", "model", "found", "n", "error of the model"], rows)
    return "\n\n".join([text, *(f"- Not checked: {each}" for each in document["not checked"])])

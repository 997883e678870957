"""Calls: set-up by each way, orders by implementation, a pipeline behind three transports, words, recordings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.figures import table


def set_up(document: Mapping[str, Any]) -> str:
    """One row for each way; one that was left out has its reason."""
    ways, peers = document["ways"], document["peers"]
    delays = list(dict.fromkeys(delay for each in ways.values() for delay in each["there_ms"]))
    rows = [
        [
            f"{name} ({peers[name]['version']})",
            " / ".join(f"{each['round_trips'][direction]:.1f}" for direction in ("there", "back")),
            *(_there_and_back(each, delay) for delay in delays),
            each["server_ports"],
        ]
        for name, each in ways.items()
    ]
    header = ["way", "round trips, there / back", *(f"{delay} ms one way" for delay in delays), "server ports"]
    note = (
        "From the start of a call to its first audio at the application, and to the first back at the caller: median "
        "(p99) in ms of n calls, over an emulated link on one machine. The peers' table says what was tuned for each."
    )
    missing = [f"- {name} did not take part: {reason}." for name, reason in document["missing"].items()]
    return "\n\n".join([note, table(header, rows), *(["\n".join(missing)] if missing else [])])


def _there_and_back(way: Mapping[str, Any], delay: str) -> str:
    there, back = (
        f"{way[key][delay]['median']:,.0f} ({way[key][delay]['p99']:,.0f})" for key in ("there_ms", "back_ms")
    )
    return f"{there} / {back}, n = {way['there_ms'][delay]['n']}"


def league(document: Mapping[str, Any]) -> str:
    """One row for each implementation and link, by link, so that implementations stand beside each other."""
    conditions = list(dict.fromkeys(each["condition"] for each in document["rows"]))
    rows = [
        [
            condition,
            f"{each['implementation']} ({each['version']})",
            f"{each['orders_right']} of {each['calls']}",
            f"{each['words_lost']} of {each['words']}",
            *(_ms(each[key]) for key in ("answer_p50_ms", "answer_p99_ms")),
            each["unanswered"],
            _ms(each["silence_ms"]),
            "" if each["recovered"] is None else f"{_ms(each['recovery_p50_ms'])} ({each['recovered']})",
            each.get("calls_per_core") or "",
        ]
        for condition in conditions
        for each in document["rows"]
        if each["condition"] == condition
    ]
    header = [
        "link",
        "implementation",
        "orders right",
        "words lost",
        "answer ms, p50",
        "p99",
        "unanswered",
        "silence ms",
        "back after ms (calls)",
        "calls per core",
    ]
    options = document["options"]
    note = f"The same {options['orders']} spoken orders, seed {options['seed']}, loopback relays, {document['date']}."
    return f"{note}\n\n{table(header, rows)}"


def pipelines(document: Mapping[str, Any]) -> str:
    """One column for each transport."""
    figures = {kind: each for kind, each in document["figures"].items() if each["calls"]}
    single = {
        "calls": "calls",
        "failed": "failed",
        "connected, median ms": "connected",
        "words lost, 1 s dark in them": "lost in the dark",
        "words lost, other turns": "lost elsewhere",
        "link itself late, ms, median of p99": "link late",
    }
    paired = {
        "first audible sample, median / p99 ms": "first",
        "silence in an answer, 1 s dark, median / p99 ms": "silence",
        "words in the context that were not heard, median / most": "not heard",
        "answer stops after an interruption, median / p99 ms": "stopped",
    }
    rows = [[name, *(each[key] for each in figures.values())] for name, key in single.items()]
    rows += [[name, *(" / ".join(map(str, each[key])) for each in figures.values())] for name, key in paired.items()]
    return table(["what", *figures], rows)


def words(document: Mapping[str, Any]) -> str:
    """The rows of all voices together."""
    rows = [each for each in document["rows"] if each["voice"] == "all"]
    header = list(rows[0])
    text = table(header, [[each[key] for key in header] for each in rows])
    return (
        f"{text}\n\nIn {document['calls_as_complete']} of {document['calls']} calls the agent received the complete "
        "recording, sample by sample."
    )


def recording(document: Mapping[str, Any]) -> str:
    """One row for each link, and one for the calls through real processes whose workers were killed."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for call in document["calls"]:
        groups.setdefault(f"{call['link']}, virtual time", []).append(call)
    if document["processes"]:
        groups["real processes, both workers killed"] = document["processes"]
    rows = [
        [
            name,
            len(group),
            sum(each["is_caller_exact"] for each in group),
            sum(each["is_agent_exact"] for each in group),
            f"{max(each['median_offset_ms'] for each in group):.2f}",
            f"{max(each['worst_offset_ms'] for each in group):.2f}",
        ]
        for name, group in groups.items()
    ]
    header = ["calls", "n", "caller exact", "agent exact", "offset ms: largest median", "largest"]
    note = "Both tracks beside what was said and played, sample by sample; the offset is that of the agent's samples."
    return "\n\n".join([note, table(header, rows), *(f"- {each}" for each in document["faults"])])


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"

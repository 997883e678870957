"""The figures that the README quotes, by the command that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final

from bench.capacity.report import Findings
from bench.figures import percentile, table
from bench.lb.report.results import Results
from bench.report.sections.balancing import speeds

UNREADABLE: Final = (KeyError, TypeError, ValueError, IndexError)
"""What a document raises that another version of its benchmark wrote; msgspec's errors are `ValueError`s."""

Quote = Callable[[Mapping[str, Any]], str]


def set_up(document: Mapping[str, Any]) -> str:
    return "; ".join(f"{way} {each['round_trips']['there']:.1f}" for way, each in document["ways"].items())


def answers(document: Mapping[str, Any]) -> str:
    return "; ".join(f"{way} {each['1']['median']:.0f} ms" for way, each in document["silence_ms"].items())


def moves(document: Mapping[str, Any]) -> str:
    ways = document["events"]["new network"]
    return "; ".join(
        f"{way} {each['gap_ms']['median']:.0f} ms, {each['frames_lost']} lost" for way, each in ways.items()
    )


def survival(document: Mapping[str, Any]) -> str:
    said = []
    for name, event in document["events"].items():
        gaps = [call["gap_ms"] for call in event["calls"] if call["gap_ms"] is not None]
        words, frames = (sum(call[key] for call in event["calls"]) for key in ("words_lost", "frames_lost"))
        times = f"median {percentile(gaps, 50):,.0f}, p99 {percentile(gaps, 99):,.0f} ms" if gaps else "no gap"
        said.append(f"{name} (n = {len(event['calls'])}): {times}, {frames} frames and {words} words lost")
    return "; ".join(said)


def capacity(document: Mapping[str, Any]) -> str:
    found = Findings.from_document(document["findings"])
    costs = [
        f"{name} {median(each.cpu_ms_per_session_s for each in windows):.2f} ms (n = {len(windows)})"
        for name, windows in zip(found.names, found.windows, strict=True)
    ]
    carried = [f"sessions a core carries: {found.ramp.carried}"] if found.ramp else []
    return "; ".join([*costs, *carried])


def uplink(document: Mapping[str, Any]) -> str:
    said = []
    for link, ways in document["links"].items():
        if "5 %" in link:
            for way, each in ways.items():
                late = " / ".join(f"{each['lateness_ms'][key]:.0f}" for key in ("p50", "p99", "p100"))
                words = f", {each['words']['wrong']} of {each['words']['said']} words wrong" if "words" in each else ""
                said.append(f"{link}, {way}: {late} ms of {each['frames']:,} frames{words}")
    return "; ".join(said) or "no link that loses 5 % was measured"


def turns(document: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{way} (n = {each['added']['n']}): median {each['added']['median']:.0f}, p99 {each['added']['p99']:.0f} ms"
        for way, each in document["ways"].items()
    )


def league(document: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{each['implementation']}, {each['condition']}: {each['orders_right']} of {each['calls']} orders, "
        f"{each['words_lost']} of {each['words']} words lost"
        for each in document["rows"]
    )


def words(document: Mapping[str, Any]) -> str:
    rows = [each for each in document["rows"] if each["voice"] == "all"]
    rights = [key for key in rows[0] if key.endswith("orders right")]
    return "; ".join(
        f"{each['path']}, {each['audio lost']} lost: "
        + ", ".join(f"{key.partition(':')[0]} {each[key]}" for key in rights if each[key])
        for each in rows
    )


def balancing(document: Mapping[str, Any]) -> str:
    found = speeds(Results.from_document(document))
    return "; ".join(f"{name} {speed:.2f} times" for name, speed in found.items()) or "no other took part"


def attacks(document: Mapping[str, Any]) -> str:
    every = document["attacks"]
    late = max(each["late_p99_ms"] for each in every)
    grown = max(each["after_mb"] for each in every) - every[0]["before_mb"]
    return (
        f"{len(every)} attacks: event loop at most {late:.0f} ms late at p99, memory grew by {grown:.0f} MB, "
        f"{document['frames_lost']} frames lost"
    )


QUOTED: Final[dict[str, tuple[str, Quote]]] = {
    "setup_time": ("round trips to a call's first audio byte", set_up),
    "answering": ("silence in an answer, outage of 1 s", answers),
    "moving": ("gap and frames lost at a new network", moves),
    "survival": ("longest wait between two frames of a call", survival),
    "capacity": ("CPU of a worker per second of a session", capacity),
    "uplink": ("lateness over a link that loses 5 %, p50 / p99 / longest, and words wrong", uplink),
    "turns": ("time added to a turn, to the first sound that is played", turns),
    "league": ("the same spoken orders through each implementation", league),
    "words": ("orders understood, without the gateway and with it", words),
    "lb": ("datagrams forwarded per CPU second, relative to others", balancing),
    "attacks": ("a worker under attack", attacks),
}


def quoted(results: Mapping[str, Any], targets: Mapping[str, str]) -> str:
    """A row for each figure; `targets` has the make target of each result."""
    rows = [
        [what, _said(quote, results[name]) if name in results else "not measured", f"make {targets[name]}"]
        for name, (what, quote) in QUOTED.items()
    ]
    return table(["what", "figure", "command"], rows)


def unreadable(error: Exception) -> str:
    """Say that a result is of another version."""
    return f"its JSON cannot be read ({type(error).__name__}: {error}): run it again"


def _said(quote: Quote, document: Mapping[str, Any]) -> str:
    try:
        return quote(document)
    except UNREADABLE as error:
        return unreadable(error)

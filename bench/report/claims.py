"""What the project claims, and by which rule the figures bear a claim out.

Each rule takes all results by name and returns a `Finding`. A result that is not there makes a claim "not measured".
Thresholds are named here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from bench.lb.report.results import MEMORY_GROWTH_MB
from bench.lb.report.results import Results as LbResults
from bench.report.sections.balancing import bytes_per_address, rounds_of, speeds
from bench.uplink.report import CLEAN_LINK

Results = Mapping[str, Any]
ONE_ROUND_TRIP: Final = 1.25
EIGHT_ROUND_TRIPS: Final = 7.5
UNNOTICED_MS: Final = 60.0
"""A wait for the next frame that a usual jitter buffer hides."""
INAUDIBLE_MS: Final = 20.0
BUDGET_MS: Final = 800.0
COMPLETE_UPLINKS: Final = ("one stream", "hybrid")
"""The third mode of the uplink gives up frames on purpose."""
OWN_PART_MS: Final = 80.0
"""A tenth of the budget may be the gateway's: the rest belongs to recogniser, model and voice."""


class Verdict(Enum):
    HOLDS = "holds"
    HOLDS_AS = "holds as stated here"
    FAILS = "does not hold as stated"
    UNMEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim, the verdict, and the figures from which it follows."""

    claim: str
    verdict: Verdict
    because: str


def findings(results: Results) -> list[Finding]:
    """All claims in order."""
    return [_judged(claim, rule, results) for claim, rule in CLAIMS.items()]


def _judged(claim: str, rule: Callable[[Results], tuple[Verdict, str]], results: Results) -> Finding:
    try:
        return Finding(claim, *rule(results))
    except KeyError as missing:
        return Finding(claim, Verdict.UNMEASURED, f"there is no result with {missing}")
    except ValueError as error:
        return Finding(claim, Verdict.UNMEASURED, f"a result cannot be read, run it again: {error}")


def set_up(results: Results) -> tuple[Verdict, str]:
    """One round trip for the first call, and eight for the peer."""
    trips = {name: way["round_trips"]["there"] for name, way in results["setup_time"]["ways"].items()}
    first, resumed = trips["gateway, first call"], trips["gateway, resumed"]
    peers = {name: each for name, each in trips.items() if not name.startswith("gateway")}
    others = ", ".join(f"{name} {each:.1f}" for name, each in peers.items())
    figures = (
        f"round trips from the start of a call to its first audio byte at the application: gateway {first:.1f}, with a "
        f"TLS ticket {resumed:.1f}; {others}"
    )
    if not peers:
        return Verdict.UNMEASURED, figures
    slowest = max(peers.values())
    if first <= ONE_ROUND_TRIP and slowest >= EIGHT_ROUND_TRIPS:
        return Verdict.HOLDS, figures
    one = "one round trip is the QUIC handshake alone"
    if first < min(peers.values()):
        return Verdict.HOLDS_AS, f"{first:.1f} round trips instead of {_span(peers.values())}: {one}. {figures}"
    return Verdict.FAILS, f"{one} ({figures})"


def nothing_lost(results: Results) -> tuple[Verdict, str]:
    """No frame in `moving`, no frame and no word in `survival` but in its control, and none over poor links."""
    ours = _ours_in_moving(results)
    frames = sum(each["frames_lost"] for each in ours)
    sent = sum(each["frames_sent"] for each in ours)
    text = f"frames that never came when the caller's address changed: {frames} of {sent}"
    words = 0
    if "survival" in results:
        events = [event for event in results["survival"]["events"].values() if not event["is_control"]]
        calls = [call for event in events for call in event["calls"]]
        words = sum(call["words_lost"] for call in calls)
        frames += sum(call["frames_lost"] for call in calls)
        text += f"; in {len(calls)} calls in which something died: {words} words lost"
    if (poor := _over_poor_links(results)) is not None:
        missing, said = poor
        frames += missing
        text += f"; {said}"
    if frames or words:
        return Verdict.FAILS, text
    if "survival" not in results:
        return Verdict.HOLDS_AS, f"for frames; words are counted by `make bench-survival` ({text})"
    return Verdict.HOLDS, text


def _over_poor_links(results: Results) -> tuple[int, str] | None:
    """Frames that complete uplinks lost, with the words wrong for a link's sake; and what to say of all ways."""
    links = results.get("uplink", {}).get("links", {})
    poor = [ways for link, ways in links.items() if link != CLEAN_LINK]
    clean = {
        way: each["words"]["wrong"]
        for way, each in links.get(CLEAN_LINK, {}).items()
        if "words" in each
        and way not in results["uplink"].get("too_busy", ())
        and all("words" in ways.get(way, {}) for ways in poor)
    }
    if not poor or not set(COMPLETE_UPLINKS) <= set(clean):
        return None
    lost, said = 0, []
    for way, without_loss in clean.items():
        over = [ways[way] for ways in poor]
        wrong, words = (sum(each["words"][key] for each in over) for key in ("wrong", "said"))
        said.append(f"{way} {wrong} of {words} ({len(poor) * without_loss})")
        if way in COMPLETE_UPLINKS:
            lost += sum(round(each["frames"] * (1 - each["delivered_percent"] / 100)) for each in over)
            lost += sum(max(0, each["words"]["wrong"] - without_loss) for each in over)
    return lost, f"words that a recogniser has wrong after {len(poor)} poor links (without loss): {', '.join(said)}"


def switch_unnoticed(results: Results) -> tuple[Verdict, str]:
    """The gap of rebinding and of a new network is within a jitter buffer, as it is without any event."""
    events = results["moving"]["events"]
    control = events["nothing (control)"]["gateway"]["gap_ms"]["median"]
    gaps = {name: events[name]["gateway"]["gap_ms"]["median"] for name in ("NAT rebinding", "new network")}
    peers = {
        name: events["new network"][name]["gap_ms"]["median"]
        for name in events["new network"]
        if not name.startswith("gateway")
    }
    text = f"longest wait for a frame beyond the usual 20 ms, median: {_listed(gaps)}; no event {control:.0f} ms"
    if peers:
        text += f". A new network costs others: {_listed(peers)}"
    if control > UNNOTICED_MS:
        return Verdict.UNMEASURED, f"the machine was too busy: run it again when it has its cores to itself ({text})"
    if all(gap <= UNNOTICED_MS for gap in gaps.values()):
        return Verdict.HOLDS, text
    if gaps["NAT rebinding"] <= UNNOTICED_MS:
        return Verdict.HOLDS_AS, f"for NAT rebinding; a new network is a pause of {gaps['new network']:.0f} ms ({text})"
    return Verdict.FAILS, text


def speech_buffered(results: Results) -> tuple[Verdict, str]:
    """An outage of 1 s is silent for a caller only where speech is sent in real time."""
    silence = {name: each["1"]["median"] for name, each in results["answering"]["silence_ms"].items()}
    ours = silence.pop("gateway")
    text = f"silence in speech made four times as fast as it sounds, outage of 1 s, median: gateway {ours:.0f} ms"
    if silence:
        text += f"; {_listed(silence)}"
    same = [name for name, each in silence.items() if each <= max(INAUDIBLE_MS, ours)]
    if ours > INAUDIBLE_MS:
        return Verdict.FAILS, text
    if same:
        return Verdict.HOLDS_AS, f"so does {' and '.join(same)}: it is the buffer and not the transport ({text})"
    return Verdict.HOLDS, text


def one_port(results: Results) -> tuple[Verdict, str]:
    """How many ports of the server a number of calls used."""
    ways = results["setup_time"]["ways"]
    ours = max(way["server_ports"] for name, way in ways.items() if name.startswith("gateway"))
    peers = {
        name: (way["server_ports"], max(each["n"] for each in way["there_ms"].values()))
        for name, way in ways.items()
        if not name.startswith("gateway")
    }
    text = f"ports of the server that calls used: gateway {ours}; " + ", ".join(
        f"{name} {ports} for {calls}" for name, (ports, calls) in peers.items()
    )
    if ours > 1:
        return Verdict.FAILS, text
    few = [name for name, (ports, calls) in peers.items() if ports < calls]
    if few:
        return Verdict.HOLDS_AS, f"one port for all calls, which is no difference from {' and '.join(few)} ({text})"
    return Verdict.HOLDS, text


def stateless(results: Results) -> tuple[Verdict, str]:
    """Calls live through its death, its memory stays, no datagram goes astray, and a map keeps no more calls."""
    parts = {
        "calls (`make bench-survival`)": _calls_of_a_killed_balancer(results),
        "memory (`make bench-lb`)": _memory_of_clients(results),
        "faults (`make bench-lb-faults`)": _astray(results),
        "a routing map (`make bench-routing`)": _beside_a_map(results),
    }
    measured = {name: part for name, part in parts.items() if part is not None}
    if not measured:
        raise KeyError("survival")
    text = "; ".join([*(said for _, said in measured.values()), *_speeds(results)])
    if not all(is_good for is_good, _ in measured.values()):
        return Verdict.FAILS, text
    missing = [name for name in parts if name not in measured]
    if missing:
        return Verdict.HOLDS_AS, f"as far as measured, not for {' and '.join(missing)} ({text})"
    return Verdict.HOLDS, text


def _calls_of_a_killed_balancer(results: Results) -> tuple[bool, str] | None:
    event = results.get("survival", {}).get("events", {}).get("load balancer killed and restarted")
    if event is None:
        return None
    lost = sum(call["frames_lost"] for call in event["calls"])
    return not lost, f"{len(event['calls'])} calls whose load balancer was killed and restarted lost {lost} frames"


def _memory_of_clients(results: Results) -> tuple[bool, str] | None:
    """`None` after fewer addresses than tell anything, as in a quick run."""
    if "lb" not in results:
        return None
    found = LbResults.from_document(results["lb"])
    grown = None if found.ours is None else found.growth_mb(found.ours)
    if grown is None:
        return None
    tables = {
        run.implementation: bytes_per_address(run)
        for run in found.memory
        if run.samples and not run.implementation.startswith("quiclb")
    }
    addresses = max(run.addresses for run in found.memory if run.implementation == found.ours)
    text = f"memory grew by {grown:.1f} MB over the last nine tenths of {addresses:,} client addresses"
    if tables:
        text += ", bytes for each client address: " + ", ".join(f"{name} {each:.0f}" for name, each in tables.items())
    return grown <= MEMORY_GROWTH_MB, text


def _astray(results: Results) -> tuple[bool, str] | None:
    if "lb-faults" not in results:
        return None
    faults = results["lb-faults"]["faults"].values()
    sent, astray = (sum(each[key] for each in faults) for key in ("sent", "astray"))
    return not astray, f"{astray} of {sent:,} datagrams went astray in {len(faults)} conditions"


def _beside_a_map(results: Results) -> tuple[bool, str] | None:
    """In no event keeps a routing map more calls, and calls whose clients move wait longer with each map."""
    found = results.get("routing", {}).get("implementations", {})
    if "quiclb" not in found or len(found) < 2:
        return None
    ours, maps = found["quiclb"]["events"], {name: each["events"] for name, each in found.items() if name != "quiclb"}
    keeps = all(each[event]["kept"] <= ours[event]["kept"] for each in maps.values() for event in ours)
    moving = all(
        ours["clients move"]["gap_ms"]["median"] < each["clients move"]["gap_ms"]["median"] for each in maps.values()
    )
    shown = [event for event in ours if "move" in event or "killed" in event]
    said = ", ".join(
        f"{event}: "
        + " / ".join(
            f"{each[event]['gap_ms']['median']:.0f} ms ({each[event]['kept']} kept)" for each in (ours, *maps.values())
        )
        for event in shown
    )
    calls = next(iter(ours.values()))["calls"]
    names = " / ".join(["quiclb", *maps])
    return keeps and moving, f"gap at the median and calls kept of {calls}, {names}: {said}"


def _speeds(results: Results) -> list[str]:
    """What forwarding costs beside others: no part of the claim, and said with it."""
    found = LbResults.from_document(results["lb"]) if "lb" in results else None
    if found is None or found.ours is None:
        return []
    said = ", ".join(f"{name} {speed:.2f}" for name, speed in speeds(found).items())
    return [f"datagrams per CPU second relative to {said} (rounds: {rounds_of(found, found.ours)})"] if said else []


def budget(results: Results) -> tuple[Verdict, str]:
    """Whole answers of the order agent in the league; without the league the gateway's own part of a turn."""
    added = {name: way["added"] for name, way in results["turns"]["ways"].items()}
    own = max(each["p99"] for each in added.values())
    text = f"added to a turn, median / p99: {', '.join(f'{name} {_pair(each)}' for name, each in added.items())}"
    whole = _whole_answer(results)
    if whole is None:
        if own > OWN_PART_MS:
            return Verdict.FAILS, f"the gateway's own part is {own:.0f} ms at p99 ({text})"
        rest = f"{BUDGET_MS - own:.0f} ms are left for the agent; whole answers are measured by `make bench-league`"
        return Verdict.HOLDS_AS, f"for the gateway's own part: {rest} ({text})"
    median, late = whole
    what = "from the end of an order to the first sound of the order agent's answer, clean link"
    answer = f"{what}: median {median:.0f} ms, p99 {late:.0f} ms"
    if late <= BUDGET_MS:
        return Verdict.HOLDS, f"{answer}; {text}"
    if median <= BUDGET_MS:
        return Verdict.HOLDS_AS, f"at the median. {answer}; {text}"
    return Verdict.FAILS, f"{answer}; {text}"


def _whole_answer(results: Results) -> tuple[float, float] | None:
    rows = results.get("league", {}).get("rows", ())
    ours = [each for each in rows if each["implementation"].startswith("this gateway") and each["condition"] == "clean"]
    return (ours[0]["answer_p50_ms"], ours[0]["answer_p99_ms"]) if ours else None


CLAIMS: Final[dict[str, Callable[[Results], tuple[Verdict, str]]]] = {
    "1 round trip instead of 8 before a caller's audio arrives": set_up,
    "No word is lost": nothing_lost,
    "A switch of network goes unnoticed": switch_unnoticed,
    "Speech is buffered at the client: an outage is not noticed": speech_buffered,
    "One UDP port for all calls": one_port,
    "A stateless load balancer in place of a routing map": stateless,
    "The budget of 800 ms is kept": budget,
}


def _ours_in_moving(results: Results) -> list[dict[str, Any]]:
    events = results["moving"]["events"].values()
    return [each for event in events for name, each in event.items() if name.startswith("gateway")]


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f} ms" for name, value in values.items())


def _pair(figures: Mapping[str, float]) -> str:
    return f"{figures['median']:.0f} / {figures['p99']:.0f} ms"


def _span(values: Any) -> str:
    ordered = sorted(values)
    return f"{ordered[0]:.1f}" if len(ordered) == 1 else f"{ordered[0]:.1f} to {ordered[-1]:.1f}"

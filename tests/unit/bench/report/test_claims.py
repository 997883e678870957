"""The rules by which figures bear a claim out, and the peers' advantages."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bench.report.advantages import advantages
from bench.report.claims import CLAIMS, Verdict, findings


def way(trips: float, ports: int, ms: float = 100.0) -> dict[str, Any]:
    return {"round_trips": {"there": trips}, "server_ports": ports, "there_ms": {"0": {"median": ms, "n": 10}}}


def move(gap: float, lost: int = 0) -> dict[str, Any]:
    return {"gap_ms": {"median": gap}, "frames_lost": lost, "frames_sent": 500}


def event(frames: int = 0, words: int = 0, *, is_control: bool = False) -> dict[str, Any]:
    return {"is_control": is_control, "calls": [{"frames_lost": frames, "words_lost": words}]}


def heard(wrong: int = 2, delivered: float = 100.0) -> dict[str, Any]:
    """A way over one of the links."""
    late = {f"p{percent}": 30.0 for percent in (50, 99, 100)}
    words = {"said": 100, "wrong": wrong}
    common = {"frames": 1_000, "delivered_percent": delivered, "bytes_per_frame": 100.0}
    return {**common, "lateness_ms": late, "words": words}


def answered(implementation: str, condition: str, median: float, late: float) -> dict[str, Any]:
    return {
        "implementation": implementation,
        "condition": condition,
        "answer_p50_ms": median,
        "answer_p99_ms": late,
    }


RESULTS: dict[str, Any] = {
    "setup_time": {
        "calls": 10,
        "ways": {
            "gateway, first call": way(1.1, 1),
            "gateway, resumed": way(1.0, 1),
            "WebRTC (pion)": way(8.1, 11),
        },
    },
    "answering": {
        "silence_ms": {
            "gateway": {"1": {"median": 0.0}},
            "WebSocket": {"1": {"median": 900.0}},
        }
    },
    "moving": {
        "events": {
            "nothing (control)": {"gateway": move(10), "TLS WebSocket": move(10)},
            "NAT rebinding": {"gateway": move(20), "TLS WebSocket": move(1_000, 40)},
            "new network": {"gateway": move(50), "TLS WebSocket": move(400, 5)},
        }
    },
    "survival": {
        "events": {
            "load balancer killed and restarted": event(),
            "control": event(50, 3, is_control=True),
        }
    },
    "turns": {"ways": {"a gateway": {"added": {"median": 10.0, "p99": 40.0}}}},
    "league": {
        "rows": [
            answered("Pipecat, WebSocket", "clean", 900.0, 1_500.0),
            answered("this gateway, WebTransport", "bursts-3", 900.0, 1_500.0),
            answered("this gateway, WebTransport", "clean", 600.0, 790.0),
        ]
    },
}
NAMES = dict(zip(("set up", "lost", "switch", "buffer", "port", "stateless", "budget"), CLAIMS, strict=True))


def verdict(name: str, results: dict[str, Any]) -> Verdict:
    return next(each.verdict for each in findings(results) if each.claim == NAMES[name])


def changed(path: str, value: Any) -> dict[str, Any]:
    results = copy.deepcopy(RESULTS)
    *parents, last = path.split("/")
    part = results
    for parent in parents:
        part = part[parent]
    part[last] = value
    return results


def test_claims_hold_where_every_figure_bears_them_out() -> None:
    verdicts = {name: verdict(name, RESULTS) for name in NAMES}
    assert verdicts.pop("stateless") is Verdict.HOLDS_AS  # nothing with a map runs beside it
    assert set(verdicts.values()) == {Verdict.HOLDS}


@pytest.mark.parametrize(
    ("name", "path", "value", "expected"),
    [
        ("set up", "setup_time/ways/gateway, first call", way(2.4, 1), Verdict.HOLDS_AS),
        ("set up", "setup_time/ways/WebRTC (pion)", way(6.0, 11), Verdict.HOLDS_AS),
        ("set up", "setup_time/ways/gateway, first call", way(9.0, 1), Verdict.FAILS),
        ("lost", "moving/events/new network/gateway", move(50, 1), Verdict.FAILS),
        ("lost", "survival/events/load balancer killed and restarted", event(words=1), Verdict.FAILS),
        ("switch", "moving/events/new network/gateway", move(150), Verdict.HOLDS_AS),
        ("switch", "moving/events/NAT rebinding/gateway", move(150), Verdict.FAILS),
        ("switch", "moving/events/nothing (control)/gateway", move(150), Verdict.UNMEASURED),
        ("buffer", "answering/silence_ms/gateway", {"1": {"median": 300.0}}, Verdict.FAILS),
        ("buffer", "answering/silence_ms/WebSocket", {"1": {"median": 0.0}}, Verdict.HOLDS_AS),
        ("port", "setup_time/ways/gateway, resumed", way(1.0, 2), Verdict.FAILS),
        ("port", "setup_time/ways/WebRTC (pion)", way(8.1, 2), Verdict.HOLDS_AS),
        ("port", "setup_time/ways/LiveKit room", way(9.0, 2), Verdict.HOLDS_AS),
        ("port", "setup_time/ways/Pipecat MoQ", way(6.6, 10), Verdict.HOLDS),
        ("set up", "setup_time/ways/LiveKit room", way(0.9, 2), Verdict.HOLDS),
        ("stateless", "survival/events/load balancer killed and restarted", event(frames=2), Verdict.FAILS),
        ("budget", "league/rows", [answered("this gateway", "clean", 600.0, 900.0)], Verdict.HOLDS_AS),
        ("budget", "league/rows", [answered("this gateway", "clean", 801.0, 900.0)], Verdict.FAILS),
        ("budget", "league/rows", [], Verdict.HOLDS_AS),
    ],
)
def test_verdict_follows_the_figure(name: str, path: str, value: Any, expected: Verdict) -> None:
    assert verdict(name, changed(path, value)) is expected


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("5 % random/one stream", heard(3), Verdict.FAILS),
        ("5 % random/hybrid", heard(delivered=99.9), Verdict.FAILS),
        ("5 % random/hybrid", heard(1), Verdict.HOLDS),
        ("5 % random/TLS WebSocket", heard(9), Verdict.HOLDS),
        ("5 % random/deadline of 0.2 s", heard(9, 99.0), Verdict.HOLDS),
    ],
)
def test_word_that_a_poor_link_costs_is_lost(path: str, value: Any, expected: Verdict) -> None:
    ways = dict.fromkeys(("one stream", "hybrid", "deadline of 0.2 s", "TLS WebSocket"), heard())
    results = changed("uplink", {"links": {"no loss": ways, "5 % random": ways}})
    assert verdict("lost", results) is Verdict.HOLDS
    link, way = path.split("/")
    results["uplink"]["links"] = {"no loss": ways, link: ways | {way: value}}
    assert verdict("lost", results) is expected


def test_words_of_all_ways_are_said_beside_those_without_loss() -> None:
    ways = {"one stream": heard(), "hybrid": heard(), "peer": heard(5)}
    results = changed("uplink", {"links": {"no loss": ways, "5 %": ways, "blackout": ways | {"peer": heard(9)}}})
    text = next(each.because for each in findings(results) if "lost" in each.because)
    assert "after 2 poor links (without loss)" in text
    assert text.endswith("one stream 4 of 200 (4), hybrid 4 of 200 (4), peer 14 of 200 (10)")


def test_result_without_words_says_nothing_of_them() -> None:
    bare = {key: value for key, value in heard().items() if key != "words"}
    ways = {"one stream": bare, "hybrid": bare}
    assert verdict("lost", changed("uplink", {"links": {"no loss": ways, "5 %": ways}})) is Verdict.HOLDS


def test_peer_with_fewer_wrong_words_is_named_and_one_word_is_no_difference() -> None:
    for wrong, count in ((1, 0), (0, 1)):
        links = {"5 %": {"one stream": heard(2), "hybrid": heard(2), "peer": heard(wrong)}}
        found = [each for each in advantages({"uplink": {"links": links}}) if "Words" in each]
        assert len(found) == count


@pytest.mark.parametrize(
    ("name", "benchmark"),
    [
        ("set up", "setup_time"),
        ("lost", "moving"),
        ("switch", "moving"),
        ("buffer", "answering"),
        ("stateless", "survival"),
        ("budget", "turns"),
    ],
)
def test_claim_without_its_result_is_not_measured(name: str, benchmark: str) -> None:
    results = {key: each for key, each in RESULTS.items() if key != benchmark}
    assert verdict(name, results) is Verdict.UNMEASURED


def test_without_whole_answers_the_budget_is_judged_by_the_gateways_own_part() -> None:
    results = changed("turns/ways/a gateway/added", {"median": 40.0, "p99": 81.0})
    assert verdict("budget", results) is Verdict.HOLDS
    assert verdict("budget", results | {"league": {"rows": []}}) is Verdict.FAILS


def test_the_losses_of_a_control_do_not_count() -> None:
    assert verdict("lost", changed("survival/events/control", event(500, 50, is_control=True))) is Verdict.HOLDS


def test_peer_that_is_better_is_named_and_one_that_is_worse_is_not() -> None:
    results = changed("setup_time/ways/WebRTC (pion)", way(8.1, 11, ms=9.0))
    assert advantages(results) == [
        "Set-up over 0 ms one way, to the first audio byte at the application: WebRTC (pion) 9 ms, "
        "gateway, first call 100 ms."
    ]
    assert advantages(RESULTS) == []


def test_peer_that_loses_frames_has_no_advantage_in_lateness() -> None:
    def of(delivered: float, late: float) -> dict[str, Any]:
        return {"delivered_percent": delivered, "lateness_ms": {"p99": late}, "bytes_per_frame": 100.0}

    for delivered, count in ((95.0, 0), (100, 1)):
        links = {"5 % random": {"hybrid": of(100, 40.0), "peer": of(delivered, 30.0)}}
        assert len(advantages({"uplink": {"links": links}})) == count

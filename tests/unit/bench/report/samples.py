"""Small results of benchmarks, made by the code that writes them where that is no more than a function."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from typing import Any, Final

import msgspec

from bench.agents.cells import UNDISTURBED, jobs_of
from bench.agents.kills import Outcome as AgentCall
from bench.agents.kills import Round
from bench.capacity.generator import CallerView, Datagrams, Handshakes, Quantiles
from bench.capacity.measure import Window
from bench.capacity.report import Findings
from bench.capacity.runs.floor import MachineFloor
from bench.capacity.runs.handshakes import Handshaking
from bench.capacity.runs.profiling import Profile
from bench.capacity.runs.ramp import Level, Ramp
from bench.capacity.runs.survey import Survey
from bench.capacity.servers.server import Server
from bench.figures import summary
from bench.hosts.kills import CallOutcome, KillOutcome
from bench.hosts.points import settings
from bench.lb.measure import Point
from bench.lb.memory import MemoryRun, Sample
from bench.lb.report.outcome import Outcome
from bench.lb.report.results import REFERENCE, Results
from bench.lb.traffic.pool import Traffic
from bench.league.__main__ import Row
from bench.pipelines.__main__ import figures
from bench.pipelines.rounds import KINDS, CallResult
from bench.routing.events import EVENTS, restart
from bench.scale.checks.comparison import Check
from bench.soak.memory import Slope
from testbed.calls.recorded_call import Comparison

OURS: Final = "quiclb linux"
GOOD: Final = Quantiles(100, 1.0, 3.0, 5.0)


def lb(ours_ns: int = 1_000, grown_mb: int = 1, addresses: int = 10_000_000, *, is_quick: bool = False) -> Any:
    """quiclb beside C with 2,000 ns a datagram and nginx with 3,000, and memory over so many addresses."""
    costs = {OURS: ours_ns, REFERENCE: 2_000, "nginx stream": 3_000}
    machine: dict[str, str | int | float] = {"cpu": "x", "cores": 2}
    found = Results(machine, is_quick, dict.fromkeys(costs, "1"), {"Envoy udp_proxy": "not installed"})
    for is_batched in (False, True):
        for name, ns in costs.items():
            found.throughput.append(Point(name, Traffic.PLAINTEXT, 200, is_batched, rounds=[_echoes(ns)] * 3))
    for name, mb in ((OURS, grown_mb), ("nginx stream", 400)):
        samples = [Sample(addresses * tenth // 10, (20 + mb * tenth // 10) * 1_000_000, 9, 0) for tenth in range(11)]
        found.memory.append(MemoryRun(name, addresses, samples, _echoes(1), None))
    return json.loads(found.to_json())


def _echoes(cost_ns: int) -> Outcome:
    return Outcome(1.0, 1000, 1000, 1000, 0, 0, 0, 0, 0, [(90_000, 110_000, 1000)], 2000 * cost_ns)


def lb_faults(astray: int = 0) -> Any:
    each = {"sent": 4_000, "lost_inward": 3, "lost_outward": 2, "in_full_queues": 1, "astray": astray}
    return {"seconds": 6.0, "rate": 8000.0, "faults": {"no fault": each, "everything killed, started again": each}}


def setup_time() -> Any:
    """One of ours and a peer, each with two calls over each of two links; another peer is not there."""

    def way(trips: float, ms: float) -> Any:
        return {
            "server_ports": 1,
            "round_trips": {"there": trips, "back": trips + 1},
            "there_ms": {"0": summary([ms, 2 * ms]), "50": summary([10 * ms, 20 * ms])},
            "back_ms": {"0": summary([3 * ms, 4 * ms]), "50": summary([30 * ms, 40 * ms])},
        }

    ways = {"gateway, first call": way(2.0, 10.0), "LiveKit room": way(8.9, 110.0)}
    return {
        "calls": 2, "peers": {name: {"version": "1", "tuned": "as it is"} for name in ways}, "ways": ways,
        "missing": {"Pipecat MoQ": "there is no moq-rs"},
    }  # fmt: skip


def routing(gap_ms: float = 20.0, kept: int = 16) -> Any:
    """quiclb with this gap and so many calls kept in each event, beside a map with a second's gap that keeps all."""

    def of(gap_ms: float, kept: int, down_ms: int) -> Any:
        return {
            event.name: {
                "calls": 16, "kept": kept, "gap_ms": summary([gap_ms]), "took_ms": down_ms,
                "is_restart": event.happen is restart,
            }
            for event in EVENTS
        }  # fmt: skip

    def each(name: str, events: Any, memory: int) -> Any:
        return {"name": name, "kept": "flows", "version": "1", "events": events,
                "memory": {"bytes": memory, "sockets": 1.0}}  # fmt: skip

    found = {
        "quiclb": each("quiclb", of(gap_ms, kept, 500), 0),
        "a map": each("a map", of(1_000.0, 16, 10), 340),
    }
    return {"calls": 16, "one_way_ms": 25.0, "missing": {}, "implementations": found}


def capacity(peer_cpu_s: float = 0.1) -> Any:
    """A worker that uses 0.5 s of CPU in 5 s for ten sessions, beside a peer."""
    callers = CallerView(5.0, 10, 0, "", 1000, 1000, 60_000, 0.1, GOOD, GOOD, GOOD, GOOD)
    busy = Window(0.5, 0.1, 100_000_000, 0.01, callers)
    servers = {
        "ours, echo agent": (False, 0.5),
        "ours, no codec, no agent": (True, 0.4),
        "picows, TLS": (True, peer_cpu_s),
    }
    found = Findings(10, ["this tree"], [[busy, busy]], profiles={"this tree": Profile(Counter({"quic": 3}), busy)})
    found.memory = [(20, 40_000_000), (70, 50_000_000), (120, 60_000_000)]
    for name, (has_echo, cpu_s) in servers.items():
        window = replace(busy, cpu_s=cpu_s)
        levels = tuple(
            Level(count, replace(window, resident_bytes=40_000_000 + 100_000 * count), GOOD, fault)
            for count, fault in ((50, None), (100, None), (150, None), (200, "late: 31.0 ms at p99"))
        )
        shakes = Handshaking(Handshakes(5.0, 500, 0, "", 0.1, GOOD), cpu_s)
        server = Server(name, "voice" if name.startswith("ours") else "quic", ("true",), "127.0.0.1:1", has_echo)
        found.surveys.append(Survey(server, 1_000, (window, window), window, window, shakes, Ramp(levels)))
    idle = replace(
        busy, cpu_s=0.05, callers=replace(callers, datagrams=Datagrams(1_400, 1_200, 98_000, 90_000)), waits=900
    )
    found.floor = MachineFloor(Server("UDP echo, nothing else", "udp", ("true",), "127.0.0.1:1"), (idle, idle), (idle,))
    found.missing["aiopquic"] = "needs Python 3.12"
    document = {"findings": msgspec.to_builtins(found, str_keys=True, enc_hook=str)}
    return json.loads(json.dumps(document))


def league() -> Any:
    rows = [
        Row("this gateway, WebTransport", "1.0", "bursts-3", 20, 20, 300, 0, 0, 700.0, 900.0, 20.0, 0),
        Row("Pipecat, WebSocket", "0.9", "bursts-3", 20, 17, 300, 12, 1, 650.0, 2_000.0, 900.0, 0),
        Row(
            "this gateway, WebTransport", "1.0", "killed with SIGKILL", 8, 8, 120, 0, 0, 700.0, 900.0, 20.0, 0, 8, 740.0
        ),
    ]
    options = {"orders": 20, "seed": 1}
    return {"commit": "abc", "date": "2026-11-30", "options": options, "rows": [asdict(each) for each in rows]}


def pipelines() -> Any:
    calls = [
        CallResult("gateway", 300.0, 900.0, 0.0, 0, 0, 0, 4, 150.0, 8, 2.0),
        CallResult("websocket", 400.0, 950.0, 1_100.0, 3, 2, 5, 9, 700.0, 8, 2.0),
    ]
    found = {kind: figures(kind, calls) for kind in KINDS}
    return json.loads(json.dumps({"calls": [asdict(each) for each in calls], "figures": found}))


def agents() -> Any:
    right = AgentCall(0, (("user", "a tea"),), {"items": 1}, 900.0)
    job = jobs_of(())[0]
    job.rounds = {UNDISTURBED: [Round((right,), ("a",))], job.cells[1]: [Round((right, right), ("a", "b"))]}
    return json.loads(json.dumps({"cells": job.documents()}))


def hosts() -> Any:
    setting = settings()["kills"][0]
    point = setting.points[0]
    setting.kills[point] = [KillOutcome((CallOutcome(), CallOutcome()), 0, 1, 2, (120.0, 140.0))]
    late = {"n": 500, "median": 41.0, "p99": 52.0, "max": 60.0}
    return json.loads(json.dumps({"cells": setting.documents(), "blocked": {"beside a blocked host": late}}))


def survival() -> Any:
    calls = [{"gap_ms": gap, "frames_lost": 0, "words_lost": 0} for gap in (700.0, 760.0, None)]
    lost = [{"gap_ms": None, "frames_lost": 50, "words_lost": 3}]
    events = {"worker killed": {"times": 2, "is_control": False, "calls": calls}}
    events["no store"] = {"times": 1, "is_control": True, "calls": lost}
    return {"round_trip_ms": 50.0, "events": events}


def words() -> Any:
    row = {"path": "16 kHz", "audio lost": "5%", "voice": "all"}
    ways = {"without: orders right": "79 of 90", "hybrid: orders right": "87 of 90", "one stream: orders right": ""}
    return {"rows": [row | ways, row | {"voice": "slt"} | ways], "calls": 180, "calls_as_complete": 180}


def recording() -> Any:
    compared = asdict(Comparison(is_caller_exact=True, caller_samples=9, is_agent_exact=True, agent_samples=9,
                                 worst_offset_ms=1.25, median_offset_ms=0.04))  # fmt: skip
    calls = [{"link": "25 ms", "seed": seed, "answers": 20, **compared} for seed in (1, 2)]
    killed = {"seed": 1, "said_samples": 9, "workers": ["worker-1", "worker-2"], **compared}
    return {"commit": "abc", "minutes": 10.0, "calls": calls, "processes": [killed], "faults": []}


def rollout() -> Any:
    times = {"n": 98, "median": 80.0, "p99": 200.0, "max": 260.0}
    return {
        "workers": 4, "balancers": 2, "seconds": 180.2, "sessions_lost": 0, "failed_probes": 0,
        "gap_ms": times, "gap_ms_by_cause": {"worker": times, "caller": {}}, "queries": 40,
        "queries_always_filled": 40, "words": {"said": 900, "lost": 0}, "frames": {"sent": 90_000, "lost": 0},
        "faults": [],
    }  # fmt: skip


def soak(kb_per_min: float = 3.0) -> Any:
    return {
        "minutes": 30.0, "calls": {"ends": 300, "migrates": 100}, "frames_lost": 0, "faults": [],
        "bound_kb_per_min": 50.0, "slopes": {"worker-1": asdict(Slope(kb_per_min, 9.0, 120))},
        "cpu": {"worker-1": 0.3}, "at_min": [0.0, 0.17], "rss_mb": {"worker-1": [80.0, 92.5]},
    }  # fmt: skip


def attacks() -> Any:
    each = {"name": "flood of Initials", "late_p99_ms": 23.0, "late_max_ms": 40.0, "own_p99_ms": 11.0,
            "before_mb": 80.0, "after_mb": 96.0, "honest": {"newcomers": [30, 30]}}  # fmt: skip
    return {"attacks": [each], "frames_lost": 0, "tracebacks": 0, "faults": []}


def scale() -> Any:
    check = Check("saves per call and second", 0.21, 0.20, "18 calls")
    return {"checks": [asdict(check) | {"error": check.error}], "not checked": ["a worker under load: left out"]}


ALL: Final = {
    "setup_time": setup_time,
    "survival": survival, "lb": lb, "lb-faults": lb_faults, "routing": routing, "capacity": capacity, "league": league,
    "pipelines": pipelines,
    "agents": agents, "hosts": hosts, "words": words, "recording": recording, "rollout": rollout, "soak": soak,
    "attacks": attacks, "scale": scale,
}  # fmt: skip

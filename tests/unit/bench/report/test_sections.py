"""What the report says of each benchmark, from results as their code writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import figures
from bench.report.advantages import advantages
from bench.report.claims import Verdict, stateless
from bench.report.pages import as_html, as_markdown
from bench.report.plan import PLAN
from bench.report.results import read_results
from bench.report.sections import SECTIONS
from bench.report.sections.quoted import quoted
from bench.rollout.report import write
from tests.unit.bench.report import samples
from tests.unit.bench.test_rollout import GOOD

TARGETS = {each.name: each.target for each in PLAN}
SURVIVAL: Any = {"events": {"load balancer killed and restarted": {"calls": [{"frames_lost": 0}] * 4}}}
STATELESS: Any = {
    "survival": SURVIVAL, "lb": samples.lb(), "lb-faults": samples.lb_faults(), "routing": samples.routing(),
}  # fmt: skip


def text(name: str, **changes: Any) -> str:
    return SECTIONS[name](samples.ALL[name](**changes))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("setup_time", "| LiveKit room (1) | 8.9 / 9.9 | 110 (220) / 330 (440), n = 2 | 1,100 (2,200) / 3,300"),
        ("setup_time", "Pipecat MoQ did not take part: there is no moq-rs."),
        ("survival", "| worker killed | 3 (2) | 700 | 760 | 0 | 0 |"),
        ("survival", "| no store, control | 1 (1) | - | - | 50 | 3 |"),
        ("lb", "| C reference | 2.00 | 2.00 | 3 |"),
        ("lb", "| nginx stream | 10,000,000 | 20.0 | 420.0 | 40.0 |"),
        ("lb", "Envoy udp_proxy did not take part: not installed"),
        ("lb-faults", "| everything killed, started again | 4,000 | 3 | 2 | 1 | 0 |"),
        ("routing", "| clients move | 16 of 16; 20 / 20 ms | 16 of 16; 1,000 / 1,000 ms |"),
        ("routing", "| load balancer killed, started again | 16 of 16; 20 / 20 ms, down 500 ms |"),
        ("capacity", "| picows, TLS | 2.00 (2.00 to 2.00), n = 2 |"),
        ("capacity", "| 5000 (n = 500) | 150 to 200 | 100 ± 0 (n = 3) |"),
        ("capacity", "- CPU for a second of a session: picows, TLS 2 ms, ours, no codec, no agent 8 ms."),
        ("capacity", "| the floor: UDP echo, nothing else | 1.00 (1.00 to 1.00), n = 2 | 0 |"),
        ("capacity", "| 1.40 / 1.20 | 70 / 75 | 0.90 |"),
        ("capacity", "beside picows, TLS: 4.00 times its CPU, 7.00 times above the floor, where ours looks worse"),
        ("capacity", "Missing: aiopquic: needs Python 3.12"),
        ("league", "| bursts-3 | Pipecat, WebSocket (0.9) | 17 of 20 | 12 of 300 | 650 | 2,000 | 1 | 900 |  |  |"),
        ("league", "| 740 (8) |  |"),
        ("pipelines", "| silence in an answer, 1 s dark, median / p99 ms | 0 / 0 | 1100 / 1100 |"),
        ("agents", "| 2 (1) | 0 | 0 | 0 | 0 | 0 | 900.0 | 900.0 |"),
        ("hosts", "| 2 (1) | 0 | 0 | 0 | 0 | 0 | 120.0 | 140.0 |"),
        ("hosts", "| beside a blocked host | 500 | 41.0 | 52.0 | 60.0 |"),
        ("words", "| 16 kHz | 5% | all | 79 of 90 | 87 of 90 |  |"),
        ("recording", "| 25 ms, virtual time | 2 | 2 | 2 | 0.04 | 1.25 |"),
        ("recording", "| real processes, both workers killed | 1 | 1 | 1 | 0.04 | 1.25 |"),
        ("rollout", "| begun by the worker | 98 | 80.0 | 200.0 | 260.0 |"),
        ("soak", "| worker-1 | 80.0 / 92.5 / 92.5 | +3.0 ± 9.0 | 120 | within the bound |"),
        ("attacks", "| flood of Initials | 23.0 | 40.0 | 11.0 | 80 / 96 | newcomers 30 of 30 |"),
        ("scale", "| saves per call and second | 0.21 | 0.2 | 18 calls | +5.0% |"),
    ],
)  # fmt: skip
def test_section_has_the_figures_of_the_result(name: str, row: str) -> None:
    assert row in text(name)


def test_rolling_update_is_read_as_its_benchmark_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    write(GOOD, is_quick=True)
    page = as_markdown(tmp_path, read_results(tmp_path), {}, "abc", [])
    assert " A quick run.\n\n4 workers behind 2 load balancers in 60 s: 0 sessions lost" in page


def test_slope_above_its_bound_is_named() -> None:
    assert "| above the bound |" in text("soak", kb_per_min=60.0)


def test_peer_that_costs_more_is_no_advantage() -> None:
    assert "CPU for a second of a session: picows" not in text("capacity", peer_cpu_s=0.6)
    assert not [each for each in advantages({"lb": samples.lb()}) if "CPU" in each]
    worse = advantages({"lb": samples.lb(ours_ns=2_500)})
    assert (
        "CPU of the load balancer for a datagram, plain backends: C reference 2000 ns, quiclb linux 2500 ns." in worse
    )


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        (STATELESS, Verdict.HOLDS),
        (STATELESS | {"routing": samples.routing(kept=15)}, Verdict.FAILS),
        (STATELESS | {"routing": samples.routing(gap_ms=1_500.0)}, Verdict.FAILS),
        ({"survival": SURVIVAL, "lb": samples.lb(), "lb-faults": samples.lb_faults()}, Verdict.HOLDS_AS),
        ({"survival": SURVIVAL, "lb": samples.lb(), "lb-faults": samples.lb_faults(astray=1)}, Verdict.FAILS),
        ({"survival": SURVIVAL, "lb": samples.lb(grown_mb=9), "lb-faults": samples.lb_faults()}, Verdict.FAILS),
        ({"survival": SURVIVAL, "lb": samples.lb(addresses=1_000), "lb-faults": samples.lb_faults()}, Verdict.HOLDS_AS),
        ({"lb": samples.lb()}, Verdict.HOLDS_AS),
    ],
)
def test_claim_of_a_stateless_load_balancer_needs_calls_memory_faults_and_a_map(results: Any, verdict: Verdict) -> None:
    found, because = stateless(results)
    assert found is verdict
    assert "C reference 2.00, nginx stream 3.00 (rounds: 3)" in because


def test_page_has_a_section_for_every_result_and_says_what_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "soak.png").write_bytes(b"")
    results = {name: make() for name, make in samples.ALL.items() if name != "league"}
    page = as_markdown(tmp_path, results, {}, "abc", [])
    assert "Not measured; command: `make bench-league`." in page
    assert page.count("Not measured; command") == 1
    assert "![soak](soak.png)" in page
    assert "cannot be read" not in page
    assert "<h2>The league table</h2>" in as_html(page)


def test_result_of_another_version_is_said_to_be_one(tmp_path: Path) -> None:
    page = as_markdown(tmp_path, {name: {"commit": "old"} for name in samples.ALL}, {}, "abc", [])
    assert page.count("run it again; command: `make bench-") == len(samples.ALL)


def test_every_quoted_figure_is_not_measured_without_its_result() -> None:
    assert quoted({}, TARGETS).count("| not measured |") == 11
    text = quoted({"lb": samples.lb(), "capacity": samples.capacity(), "attacks": samples.attacks()}, TARGETS)
    assert "C reference 2.00 times; nginx stream 3.00 times | make bench-lb |" in text
    assert "this tree 10.00 ms (n = 2); sessions a core carries: 150 | make bench-capacity |" in text
    assert "event loop at most 23 ms late at p99, memory grew by 16 MB, 0 frames lost" in text

"""Peers: their versions, and when one has fewer sessions than the others."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.capacity.generator import CallerView, Grown, Handshakes, Quantiles
from bench.capacity.measure import Window
from bench.capacity.report import Findings, servers_table
from bench.capacity.runs.handshakes import Handshaking
from bench.capacity.runs.ramp import too_many
from bench.capacity.runs.survey import COLLAPSED_MS, Survey, has_collapsed
from bench.capacity.servers import peers
from bench.capacity.servers.server import Server, ServerError

GOOD = Quantiles(100, 1.0, 3.0, 5.0)
LATE = Quantiles(100, COLLAPSED_MS, 3000.0, 5000.0)
CALLERS = CallerView(5.0, 16, 0, "", 1000, 1000, 60_000, 0.4, GOOD, GOOD, GOOD, GOOD)
WINDOW = Window(cpu_s=0.5, system_s=0.1, resident_bytes=132_000_000, others=0.01, callers=CALLERS)
PEER = Server("a peer, MoQ", "moq", ("true",), "127.0.0.1:1", version="1.2.3")


def survey(*windows: Window) -> Survey:
    return Survey(
        PEER, 100_000_000, windows, None, WINDOW, Handshaking(Handshakes(1.0, 50, 0, "", 0.1, GOOD), 0.5), None
    )


def row(found: Survey) -> str:
    return servers_table(Findings(16, [], [], surveys=[found])).splitlines()[4]


def test_a_version_is_that_of_the_requirement_or_of_the_module() -> None:
    assert peers.version_of("aiortc", "aioice==0.13.0\naiortc==1.16.0\n") == "1.16.0"
    assert peers.version_of("github.com/pion/webrtc/v4", "\tgithub.com/pion/webrtc/v4 v4.2.26\n") == "4.2.26"
    with pytest.raises(ServerError, match="no version of picows"):
        peers.version_of("picows", "picows>=2\n")


@pytest.mark.parametrize("requirements", sorted(peers.SOURCE.glob("*.txt")), ids=lambda path: path.stem)
def test_every_requirement_of_a_peer_is_pinned(requirements: Path) -> None:
    for line in requirements.read_text().splitlines():
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_a_peer_that_cannot_be_had_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "AGENTS_PYTHON", tmp_path / "python")

    def fail(*_: object) -> str:
        raise ServerError("it cannot be had")

    monkeypatch.setattr(peers, "_environment", fail)
    monkeypatch.setattr(peers, "_pion_program", fail)
    found, missing = peers.prepare(tmp_path)
    assert found == []
    assert missing["aiortc, WebRTC"] == missing["pion, WebRTC"] == "it cannot be had"
    assert "make frameworks" in missing["Pipecat, MoQ, decoded and encoded"]


def test_a_server_has_collapsed_where_most_frames_wait_in_every_window_or_sessions_are_lost() -> None:
    late = replace(WINDOW, callers=replace(CALLERS, echo_ms=LATE))
    assert has_collapsed(PEER, [late, late])
    assert not has_collapsed(PEER, [late, WINDOW])
    assert not has_collapsed(replace(PEER, has_echo=False), [late, late])
    assert has_collapsed(PEER, [WINDOW, replace(WINDOW, callers=replace(CALLERS, lost=1))])


def test_a_row_names_version_and_fewer_sessions_than_the_others_had() -> None:
    assert row(survey(WINDOW)).startswith("| a peer, MoQ 1.2.3 |")
    fewer = replace(WINDOW, callers=replace(CALLERS, sessions=8))
    assert row(survey(fewer)).startswith("| a peer, MoQ 1.2.3, 8 sessions |")


def test_without_a_ramp_memory_is_what_the_process_grew_by_and_callers_have_their_own_cost() -> None:
    assert row(survey(WINDOW)).endswith("| 2000 from idle | 5.00, 3.0 ms |")


def test_a_server_that_encodes_anew_may_be_later_by_its_delay_and_the_report_says_so() -> None:
    late = replace(WINDOW, callers=replace(CALLERS, echo_ms=replace(GOOD, p99=45.0)))
    grown = Grown(16, 16, 0, "")
    assert too_many(PEER, grown, late) == "late: 45.0 ms at p99"
    slower = replace(PEER, delay_ms=40.0)
    assert too_many(slower, grown, late) is None
    assert "(a peer, MoQ: 60 ms)" in servers_table(Findings(16, [], [], surveys=[replace(survey(late), server=slower)]))


def test_only_the_peers_that_are_asked_for_are_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []

    def build(cache: Path) -> Path:
        built.append(cache)
        return cache / "pion"

    monkeypatch.setattr(peers, "_pion_program", build)
    found, missing = peers.prepare(tmp_path, ["pion"])
    assert [each.name for each in found] == ["pion, WebRTC"]
    assert (built, missing) == ([tmp_path], {})

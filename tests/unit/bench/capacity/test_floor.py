"""The floor: the server in C that echoes datagrams, and what the report says is above it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.capacity.above_floor import above_floor, own_cost, own_ratio
from bench.capacity.generator import Datagrams, Handshakes
from bench.capacity.measure import Spread, Window
from bench.capacity.report import Findings, servers_table
from bench.capacity.runs.floor import MachineFloor
from bench.capacity.runs.handshakes import Handshaking
from bench.capacity.runs.survey import Survey
from bench.capacity.servers import bare_udp, server
from bench.capacity.servers.server import Server, ServerError, times_waited
from tests.unit.bench.capacity.test_figures import CALLERS, GOOD, WINDOW

ACK, FRAME = b"\0", b"\1"
OURS = Server("ours, no codec, no agent", "voice", ("true",), "127.0.0.1:1")
PEER = Server("a peer, WebRTC", "webrtc", ("true",), "127.0.0.1:2")
ECHO = Server("UDP echo, nothing else", "udp", ("true",), "127.0.0.1:3")
has_compiler = pytest.mark.skipif(
    not os.environ.get("STRICT") and not (shutil.which("gcc") or shutil.which("cc")), reason="no C compiler"
)


def costing(ms: float) -> Window:
    """A window of 10 sessions and 5 s that costs so many ms per session and second."""
    return replace(WINDOW, cpu_s=ms * 10 * 5 / 1000)


def survey(which: Server, *windows: Window) -> Survey:
    return Survey(which, 0, windows, None, WINDOW, Handshaking(Handshakes(1.0, 50, 0, "", 0.1, GOOD), 0.5), None)


def floor(*windows: Window) -> MachineFloor:
    return MachineFloor(ECHO, windows, (costing(0.5),))


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Server]:
    """The server in C, running."""
    echoing = bare_udp.bare_udp(tmp_path)
    with server.running(echoing, os.sched_getaffinity(0), tmp_path / "log"):
        yield echoing


@has_compiler
def test_the_server_echoes_what_comes_to_whom_it_came_from_and_answers_no_acknowledgement(
    echo: Server,
) -> None:
    host, port = echo.address.split(":")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
    ):
        for each in (first, second):
            each.settimeout(5.0)
            each.connect((host, int(port)))
        first.send(ACK + bytes(32))
        second.send(FRAME + b"second" + bytes(100))
        first.send(FRAME + b"first")
        assert second.recv(2048) == FRAME + b"second" + bytes(100)
        assert first.recv(2048) == FRAME + b"first"


def test_waits_of_all_threads_of_a_process_are_counted() -> None:
    """A sleep gives up the core unless its time is over before it begins; both threads last until they are counted."""
    program = (
        "import sys, threading, time\n"
        "def wait():\n"
        "    [time.sleep(0.001) for _ in range(30)]\n"
        "    done.wait()\n"
        "    print('waited', flush=True)\n"
        "    sys.stdin.read()\n"
        "done = threading.Barrier(2)\n"
        "threading.Thread(target=wait).start()\n"
        "wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        waited = times_waited(process.pid)
        process.stdin.close()
    assert waited >= 40


def test_without_a_compiler_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ServerError, match="apt-get install gcc"):
        bare_udp.bare_udp(tmp_path)


def test_what_is_above_the_floor_has_the_widest_range_that_both_ranges_allow() -> None:
    assert own_cost(Spread(3, 5.0, 4.5, 6.0), Spread(6, 3.0, 2.5, 3.5)) == Spread(3, 2.0, 1.0, 3.5)


def test_a_ratio_above_the_floor_needs_both_ranges_above_it() -> None:
    base = Spread(2, 3.0, 2.5, 3.5)
    assert own_ratio(Spread(2, 9.0, 9.0, 9.0), Spread(2, 5.0, 5.0, 5.0), base) == pytest.approx(3.0)
    assert own_ratio(Spread(2, 9.0, 9.0, 9.0), Spread(2, 4.0, 3.5, 5.0), base) is None
    assert own_ratio(Spread(2, 4.0, 3.4, 5.0), Spread(2, 9.0, 9.0, 9.0), base) is None


def test_both_measurements_of_the_floor_count() -> None:
    both = floor(costing(2.0)).and_later(floor(costing(4.0)))
    assert both.cost.n == 2
    assert both.cost.least == pytest.approx(2.0)
    assert both.cost.median == pytest.approx(3.0)
    assert len(both.silences) == 2


def test_a_disadvantage_above_the_floor_is_said_as_plainly_as_an_advantage() -> None:
    ours, base = survey(OURS, costing(9.0)), floor(costing(3.0))
    worse = above_floor([ours, survey(PEER, costing(5.0))], base)
    assert "| a peer, WebRTC | 5.00 (5.00 to 5.00), n = 1 | 2.00 (2.00 to 2.00) | 1.80 | 3.00 |" in worse
    assert "beside a peer, WebRTC: 1.80 times its CPU, 3.00 times above the floor, where ours looks worse" in worse
    better = above_floor([ours, survey(PEER, costing(18.0))], base)
    assert "beside a peer, WebRTC: 0.50 times its CPU, 0.40 times above the floor, where ours looks better" in better
    within = above_floor([ours, survey(PEER, costing(3.0))], base)
    assert "| 3.00 | not distinguished |" in within
    assert "beside a peer, WebRTC: 3.00 times its CPU; above the floor not distinguished" in within


def test_datagrams_and_waits_are_per_frame_and_left_empty_where_callers_do_not_count() -> None:
    counted = replace(CALLERS, frames_sent=100, datagrams=Datagrams(140, 120, 14_000, 10_800))
    known = replace(costing(3.0), callers=counted, waits=130)
    text = above_floor([survey(OURS, known), survey(PEER, costing(5.0))], floor(known, known))
    assert "| 1.40 / 1.20 | 100 / 90 | 1.30 |" in text
    assert text.count("| 1.40 / 1.20 |") == 2
    (peer,) = (line for line in text.splitlines() if line.startswith("| a peer"))
    assert peer.endswith("|  |  |  |")


def test_the_table_of_servers_ends_with_the_floor_and_says_what_is_above_it() -> None:
    found = Findings(10, [], [], surveys=[survey(PEER, costing(5.0))])
    assert "| a peer, WebRTC | 5.00 (5.00 to 5.00), n = 1 | not measured |" in servers_table(found)
    found.floor = floor(costing(3.0))
    text = servers_table(found)
    assert "| a peer, WebRTC | 5.00 (5.00 to 5.00), n = 1 | 2.00 (2.00 to 2.00) |" in text
    (row,) = (line for line in text.splitlines() if line.startswith("| the floor: UDP echo, nothing else |"))
    assert row.startswith("| the floor: UDP echo, nothing else | 3.00 (3.00 to 3.00), n = 1 | 0 | 75 (75 to 75) |")
    assert "| 0.50 | none | not measured | none |" in row

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.quiclb.virtual import on_virtual_time
from voice_gateway.ops.service_manager import ServiceManager, watchdog_interval_s


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's socket and its address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield str(tmp_path / "notify"), sock


def received(sock: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(sock.recv(100).decode())
        except BlockingIOError:
            return found


def test_a_running_loop_is_said_to_turn_twice_in_the_watchdogs_time(manager: tuple[str, socket.socket]) -> None:
    address, sock = manager

    @on_virtual_time
    async def serve() -> None:
        unit = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10000000"})
        unit.ready()
        await asyncio.sleep(11)
        assert received(sock) == ["READY=1", *["WATCHDOG=1"] * 3]
        unit.stopping()
        await asyncio.sleep(5)
        unit.close()
        await asyncio.sleep(20)
        assert received(sock) == ["STOPPING=1", "WATCHDOG=1"]

    serve()


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_watchdogs_time_is_that_of_this_process(environ: dict[str, str], interval_s: float | None) -> None:
    assert watchdog_interval_s(environ) == interval_s

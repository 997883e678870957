"""Sockets that systemd holds: the daemon may end and start again, and what arrives meanwhile waits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from bench.lb_faults.traffic import settings_text
from quiclb import unwrap
from quiclb.datapath.base import Side
from quiclb.datapath.linux.sockets import open_socket
from quiclb.net.address import format_address, normalise
from tests.unit.quiclb.pools import short_packet

TIMEOUT_S = 30.0
ACTIVATE = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.executable, sys.argv[1:])"


def passed_sockets(count: int) -> list[socket.socket]:
    sockets = []
    for side in Side:
        address = ("127.0.0.1", 0)
        for _ in range(count):
            sockets.append(open_socket(address, side, is_shared=True))
            address = normalise(sockets[-1].getsockname())
    return sockets


@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_is_lost_between_two_starts(tmp_path, processes):
    passed = passed_sockets(processes)
    vip, inner = (normalise(passed[index].getsockname()) for index in (0, -1))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as backend,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        for sock in (backend, client, manager):
            sock.settimeout(TIMEOUT_S)
        backend.bind(("127.0.0.1", 0))
        manager.bind(str(tmp_path / "notify"))
        settings = tmp_path / "lb.toml"
        listen, inside = format_address(vip), format_address(inner)
        settings.write_text(settings_text([backend.getsockname()], listen=listen, inner=inside, processes=processes))
        for start in range(2):
            client.sendto(short_packet(bytes((start,)) * 20), vip)
            daemon = activate(settings, passed, tmp_path / "notify")
            try:
                assert manager.recv(100) == b"READY=1"
                assert unwrap(backend.recv(2048))[1] == short_packet(bytes((start,)) * 20)
            finally:
                daemon.terminate()
                assert daemon.wait(TIMEOUT_S) == 0
            assert manager.recv(100) == b"STOPPING=1"
    for sock in passed:
        sock.close()


def activate(settings, passed: list[socket.socket], notify) -> subprocess.Popen[bytes]:
    """Start the daemon with the sockets at 3, 4 and so on, as systemd does."""
    count = len(passed)
    names = ":".join(side.value for side in Side for _ in range(count // 2))
    # a shell redirects before it starts: the numbers are exact, independent of what this process has open
    redirections = " ".join(f"{number}<&{sock.fileno()}" for number, sock in enumerate(passed, start=3))
    command = [sys.executable, "-m", "quiclb", "serve", "-c", str(settings), "--log-format", "json"]
    return subprocess.Popen(
        ["bash", "-c", f'exec "$0" "$@" {redirections}', sys.executable, "-c", ACTIVATE, *command],
        pass_fds=[sock.fileno() for sock in passed],
        env=os.environ | {"LISTEN_FDS": str(count), "LISTEN_FDNAMES": names, "NOTIFY_SOCKET": str(notify)},
    )

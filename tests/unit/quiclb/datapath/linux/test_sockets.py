from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from quiclb.datapath.base import Side
from quiclb.datapath.linux.sockets import open_socket, receive_drops

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SO_MEMINFO is Linux's")


def test_drops_are_what_the_kernel_shows_of_the_socket():
    with open_socket(("127.0.0.1", 0), Side.VIP) as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert receive_drops(sock) == 0 == _drops_shown(sock)
        for _ in range(100):
            sender.sendto(bytes(1000), sock.getsockname())
        assert 0 < receive_drops(sock) < 100
        assert receive_drops(sock) == _drops_shown(sock)


def _drops_shown(sock: socket.socket) -> int:
    port = f":{sock.getsockname()[1]:04X}"
    lines = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    [drops] = [int(fields[-1]) for fields in lines if fields[1].endswith(port)]
    return drops

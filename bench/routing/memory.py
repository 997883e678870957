"""Memory and sockets of a load balancer for each client address that it has had a datagram from."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.lb.machine import raise_file_limit
from bench.lb_faults.daemon import Daemon, children_of
from bench.lb_faults.traffic import CONFIG, Backends, server_id, settings_text
from bench.peers.ways import build_router
from bench.routing.implementations import Implementation
from quiclb import CidEncoder
from quiclb.net.address import Address, format_address
from testbed.ports import free_port
from testbed.redis_server import redis_server

ADDRESSES: Final = 10_000
_RATE: Final = 4_000
_SETTLED_S: Final = 2.0
_FIRST: Final = 5_000
"""Not counted: programs grow to their usual size, and bounded caches fill."""
_UFRAG: Final = "memory"
_KB: Final = 1024
_IP_PKTINFO: Final = 8


@dataclass(frozen=True, slots=True)
class Memory:
    """Before and after the clients that are counted, which come after some others; `open_files` of all processes."""

    addresses: int
    resident_before: int
    resident_after: int
    open_files_before: int
    open_files_after: int

    @property
    def bytes_per_address(self) -> float:
        return (self.resident_after - self.resident_before) / self.addresses

    @property
    def sockets_per_address(self) -> float:
        return (self.open_files_after - self.open_files_before) / self.addresses


def remember(implementation: Implementation, addresses: int = ADDRESSES) -> Memory:
    """Send one datagram from each of so many client addresses, and see what the load balancer holds."""
    raise_file_limit()
    backends = Backends(1)
    try:
        if implementation.is_saving_flows is None:
            with _quiclb(backends) as (vip, pid):
                encoder = CidEncoder(CONFIG, server_id(0), rng=os.urandom)
                return _measure(vip, pid, addresses, lambda: b"\x40" + encoder.encode() + bytes(100))
        with _router(backends, is_saving_flows=implementation.is_saving_flows) as (vip, pid):
            return _measure(vip, pid, addresses, binding_request)
    finally:
        backends.close()


def binding_request() -> bytes:
    """A STUN binding request (RFC 8489) with a USERNAME as ICE has it, server's fragment first."""
    username = f"{_UFRAG}:{secrets.token_hex(4)}".encode()
    attribute = struct.pack("!HH", 0x0006, len(username)) + username + bytes(-len(username) % 4)
    return struct.pack("!HHI", 0x0001, len(attribute), 0x2112A442) + secrets.token_bytes(12) + attribute


@contextmanager
def _quiclb(backends: Backends) -> Iterator[tuple[Address, int]]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "lb.toml"
        inner = "127.0.0.1:0"
        settings.write_text(settings_text(backends.addresses, listen=inner, inner=inner, metrics=inner))
        daemon = Daemon(settings)
        try:
            yield daemon.vip, daemon.process.pid
        finally:
            daemon.kill()


@contextmanager
def _router(backends: Backends, *, is_saving_flows: bool) -> Iterator[tuple[Address, int]]:
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder), fsync="everysec") as redis:
        redis.ask("SET", f"ufrag:{_UFRAG}", format_address(backends.addresses[0]))
        vip = ("127.0.0.1", free_port())
        asked = (format_address(vip), f"127.0.0.1:{redis.port}", "flows" if is_saving_flows else "stun")
        with subprocess.Popen([str(build_router()), *asked], stdout=subprocess.PIPE) as router:
            try:
                assert router.stdout is not None
                router.stdout.readline()
                yield vip, router.pid
            finally:
                router.kill()


def _measure(vip: Address, pid: int, addresses: int, datagram: Callable[[], bytes]) -> Memory:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))  # noqa: S104 - its datagrams are sent from many loopback addresses
        begin = time.monotonic()
        for number in range(_FIRST + addresses):
            if number == _FIRST:
                resident, files = _held(pid)
            source = socket.inet_aton(f"127.{100 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}")
            packet_info = struct.pack("=I4s4s", 0, source, bytes(4))
            sock.sendmsg([datagram()], [(socket.IPPROTO_IP, _IP_PKTINFO, packet_info)], 0, vip)
            time.sleep(max(0.0, begin + number / _RATE - time.monotonic()))
        time.sleep(_SETTLED_S)
    return Memory(addresses, resident, _held(pid)[0], files, _held(pid)[1])


def _held(pid: int) -> tuple[int, int]:
    """Resident bytes and open files of a process and those that it started."""
    resident = files = 0
    for each in (pid, *children_of(pid)):
        lines = Path(f"/proc/{each}/status").read_text().splitlines()
        resident += next(int(line.split()[1]) * _KB for line in lines if line.startswith("VmRSS:"))
        files += len(os.listdir(f"/proc/{each}/fd"))
    return resident, files

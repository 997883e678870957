"""The testbed: cores, free ports, backends and clients of one run."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.lb.process import running
from bench.lb.traffic import native
from bench.lb.traffic.clients import Clients
from bench.lb.traffic.packet_templates import packet_templates
from bench.lb.traffic.pool import BACKEND_IPS, INNER_IP, VIP_IP, Pool, Traffic
from testbed.ports import free_port

_TEMPLATES = 1024
_BACKEND_PORT = 19_999
_BACKENDS_READY_S = 5.0


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where. The implementation has its core to itself; on two cores clients and backends share the other."""

    implementation: tuple[int, ...]
    clients: tuple[int, ...]
    backends: tuple[int, ...]


class LbTestbed:
    """Compiled programs, files and addresses. `folder` receives everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = native.build(folder / "programs")
        self.cores = share_cores(sorted(os.sched_getaffinity(0)))
        self.clients = Clients(self.programs["load"], self.cores.clients)
        self.templates = {traffic: folder / f"{traffic.replace(' ', '-')}.templates" for traffic in Traffic}
        for traffic, path in self.templates.items():
            path.write_bytes(packet_templates(traffic, _TEMPLATES, secrets.token_bytes))

    def pool(self) -> Pool:
        """Unused addresses; a new VIP for each implementation."""
        vip, inner, backend = _unused(VIP_IP), _unused(INNER_IP), _BACKEND_PORT
        return Pool((VIP_IP, vip), (INNER_IP, inner), tuple((ip, backend) for ip in BACKEND_IPS))

    @contextlib.contextmanager
    def backends(self, *, is_batched: bool) -> Iterator[None]:
        """Echo on all backends for as long as the block lasts."""
        addresses = [f"{ip}:{_BACKEND_PORT}" for ip in BACKEND_IPS]
        flags = ["--batched"] if is_batched else []
        log = self.folder / "backends.log"
        log.write_bytes(b"")
        command = [str(self.programs["echo"]), *flags, *addresses]
        with running(command, self.cores.backends, log) as process:
            deadline = time.monotonic() + _BACKENDS_READY_S
            while b"ready" not in log.read_bytes():
                if not process.is_alive or time.monotonic() > deadline:
                    raise RuntimeError(f"the backends do not start: {log.read_text()}")
                time.sleep(0.02)
            yield


def share_cores(cores: list[int]) -> Cores:
    """One core for the implementation, one for the clients, one for the backends, as far as there are any."""
    return Cores((cores[0],), (cores[1 % len(cores)],), (cores[min(2, len(cores) - 1)],))


def _unused(ip: str) -> int:
    """A UDP port free together with the next one, which the C reference's second process takes."""
    return free_port(ip, kind=socket.SOCK_DGRAM, also=1)

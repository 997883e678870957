"""A server under load, bound to its cores, and what its process has used."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Protocol = Literal["voice", "quic", "websocket", "udp", "webrtc", "moq"]
READY_TIMEOUT_S = 40.0
_SECOND_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_IDLE, _IOWAIT = 3, 4


class ServerError(Exception):
    """A server cannot be built or does not come up; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class Server:
    """How a server is started. It is up once `ready_url` answers, or, without one, once it prints a line.

    `has_echo` says that each frame comes back by itself; the others answer whole utterances. `caller` is the beginning
    of the generator's command where the project's own does not speak the protocol. `version` is that of a peer.
    A server that encodes anew returns a frame later by up to `delay_ms` also where it has nothing else to do.
    """

    name: str
    protocol: Protocol
    command: tuple[str, ...]
    address: str
    has_echo: bool = True
    ready_url: str | None = None
    caller: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    version: str = ""
    delay_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since it began, all its threads together, from /proc; and its resident bytes."""

    user_s: float
    system_s: float
    resident_bytes: int

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s

    @classmethod
    def of(cls, pid: int) -> Usage:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(int(fields[11]) / _SECOND_TICKS, int(fields[12]) / _SECOND_TICKS, pages * _PAGE_BYTES)


def times_waited(pid: int) -> int:
    """How often the threads that a process has now gave up their core to wait (voluntary context switches)."""
    waited = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with suppress(OSError):  # a thread that has ended meanwhile
            (line,) = (each for each in status.read_text().splitlines() if each.startswith("voluntary_ctxt_switches:"))
            waited += int(line.split()[1])
    return waited


def core_busy_s(core: int) -> float:
    """For how long a core has been busy since boot, stolen time included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name == f"cpu{core}":
            ticks = [int(each) for each in values[:8]]
            return (sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]) / _SECOND_TICKS
    return 0.0


@contextmanager
def running(server: Server, cores: Collection[int], log: Path) -> Iterator[int]:
    """Start a server on `cores` and return its process ID once it takes callers; it is stopped at the end."""
    with log.open("w") as output:
        process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, sorted(cores))), *server.command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **server.environment},
            cwd=server.folder,
        )
    try:
        _until_ready(server, process, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if server.ready_url is None:
            if b"ready\n" in log.read_bytes():
                return
        else:
            with suppress(OSError), urllib.request.urlopen(server.ready_url, timeout=2.0):  # noqa: S310 - loopback
                return
        time.sleep(0.05)
    raise ServerError(f"{server.name} did not come up: {log.read_text(errors='replace')[-2000:].strip()}")


def free_address(kind: socket.SocketKind) -> str:
    """Return an address on loopback that nothing is bound to now."""
    with socket.socket(socket.AF_INET, kind) as held:
        held.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{held.getsockname()[1]}"

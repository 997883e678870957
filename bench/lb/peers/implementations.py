"""Who takes part, and how each is started."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import EnumType
from importlib import metadata
from pathlib import Path

from bench.lb.install import find_nginx
from bench.lb.peers import configs
from bench.lb.process import Pinned, running
from bench.lb.traffic.pool import Address, Pool
from quiclb.settings.sections import ForwarderSection

Commands = Callable[[Pool, Path, int], list[list[str]]]
"""Writes what is needed into a folder; returns the commands that make up that many processes."""

_READY_S = 60.0
_PROBE_BYTES = 200


@dataclass(frozen=True, slots=True)
class Implementation:
    """One load balancer. `missing` says why it cannot take part.

    `reads_cids`: connection IDs steer it, and it remembers no client. `is_scalable`: it can run as several processes.
    """

    name: str
    version: str
    reads_cids: bool
    commands: Commands | None
    missing: str | None = None
    is_scalable: bool = True


class NotReadyError(Exception):
    """An implementation was started and passes no datagram on."""


def implementations(programs: Mapping[str, Path]) -> list[Implementation]:
    """Everyone, in the order of the tables."""
    return [_reference(programs["reference"]), *_quiclb(), _nginx(), _envoy()]


@contextlib.contextmanager
def started(
    implementation: Implementation, pool: Pool, folder: Path, cores: Collection[int], processes: int = 1
) -> Iterator[Sequence[Pinned]]:
    """Run an implementation while the block lasts. Raises `NotReadyError` with the end of its log."""
    assert implementation.commands is not None
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    log.write_bytes(b"")
    with contextlib.ExitStack() as stack:
        commands = implementation.commands(pool, folder, processes)
        running_now = [stack.enter_context(running(command, cores, log)) for command in commands]
        if not _answers(pool.vip, running_now):
            raise NotReadyError(f"{implementation.name} passes nothing on; its log ends: {log.read_text()[-600:]}")
        yield running_now


def _answers(vip: Address, processes: Sequence[Pinned]) -> bool:
    """Whether a datagram comes back through the implementation, before it ends or time is up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.1)
        probe.connect(vip)
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and all(process.is_alive for process in processes):
            with contextlib.suppress(OSError):
                probe.send(b"\x5f" + bytes(_PROBE_BYTES - 1))
                if len(probe.recv(2048)) == _PROBE_BYTES:
                    return True
            time.sleep(0.05)
    return False


def _reference(program: Path) -> Implementation:
    def commands(pool: Pool, folder: Path, processes: int) -> list[list[str]]:
        parts = [Pool(pool.vip, (pool.inner[0], pool.inner[1] + i), pool.backends) for i in range(processes)]
        return [[str(program), *configs.reference_arguments(part, is_shared=processes > 1)] for part in parts]

    compiler = subprocess.run(["cc", "-dumpfullversion"], capture_output=True, text=True, check=False).stdout.strip()
    return Implementation("C reference", f"cc {compiler} -O2", True, commands)


def _quiclb() -> list[Implementation]:
    """One for each datapath that the settings can name, the default first."""
    fields = ForwarderSection.model_fields
    datapath = fields.get("datapath")
    kinds = datapath.annotation if datapath is not None else None
    if datapath is None or not isinstance(kinds, EnumType):
        return [_quiclb_with("quiclb")]
    names = sorted((str(kind.value) for kind in kinds), key=lambda name: name != str(datapath.default))
    return [_quiclb_with(f"quiclb {name}", datapath=name) for name in names]


def _quiclb_with(name: str, **keys: str) -> Implementation:
    program = Path(sys.executable).parent / "quiclb"
    is_scalable = "processes" in ForwarderSection.model_fields

    def commands(pool: Pool, folder: Path, processes: int) -> list[list[str]]:
        path = folder / "quiclb.toml"
        path.write_text(configs.quiclb(pool, **keys, **({"processes": processes} if processes > 1 else {})))
        return [[str(program), "serve", "--config", str(path), "--log-level", "warning"]]

    return Implementation(name, metadata.version("quiclb"), True, commands, is_scalable=is_scalable)


def _nginx() -> Implementation:
    found = find_nginx()
    if found is None:
        return Implementation("nginx stream", "", False, None, "not installed: run `python -m bench.lb.install`")

    def commands(pool: Pool, folder: Path, processes: int) -> list[list[str]]:
        assert found is not None
        path = folder / "nginx.conf"
        path.write_text(configs.nginx(pool, folder, module=found.module, processes=processes))
        return [[str(found.program), "-p", str(folder), "-c", str(path), "-e", str(folder / "nginx.log")]]

    return Implementation("nginx stream", found.version, False, commands)


def _envoy() -> Implementation:
    program = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
    if program is None:
        return Implementation(
            "Envoy udp_proxy", "", False, None, "not installed: pip install --require-hashes -r locks/peers.lock"
        )

    def commands(pool: Pool, folder: Path, processes: int) -> list[list[str]]:
        path = folder / "envoy.json"
        path.write_text(configs.envoy(pool))
        quiet = ["--use-dynamic-base-id", "--disable-hot-restart", "--log-level", "critical"]
        return [[str(program), "-c", str(path), "--concurrency", str(processes), *quiet]]

    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    version = next((part for part in said.split("/") if part.count(".") == 2), said.strip()[-40:])
    return Implementation("Envoy udp_proxy", version, False, commands)

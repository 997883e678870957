"""The processes of one way side by side: of each kind one that calls are at, and a spare one."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.agents.processes import Started, TcpRelay, start_host, start_vendor, start_worker
from bench.agents.ways import Way
from bench.link import NatLink
from voice_gateway.certificates.development import ensure_certificate

_HOSTS: Final = 2
_READY_TIMEOUT_S: Final = 60.0


@dataclass(slots=True)
class Host:
    """An agent host; workers do not know a hidden one, so that all calls are at the other."""

    index: int
    started: Started
    is_hidden: bool = True


@dataclass(slots=True)
class Lane:
    """Two workers with one agent and one store, and two hosts or vendors where the agent has them."""

    way: Way
    folder: Path
    has_store: bool = True
    workers: list[Started] = field(default_factory=list)
    vendors: list[Started] = field(default_factory=list)
    hosts: list[Host] = field(default_factory=list)
    relay: TcpRelay | None = None
    relay_port: int | None = None
    started: int = 0

    async def start(self) -> None:
        """Start all processes that are missing; the first host takes calls."""
        if not self.started:
            self.folder.mkdir(exist_ok=True)
            ensure_certificate(self.folder, now=time.time())
        if self.way.vendor is not None:
            while len(self.vendors) < 2:
                self.vendors.append(await start_vendor(self.way, self.folder, self._next("vendor")))
            if self.relay is None:
                self.relay = TcpRelay(self.vendors[0].facts["port"])
                self.relay_port = await self.relay.start()
            self.relay.port = self.vendors[0].facts["port"]
        while self.way.is_hosted and len(self.hosts) < _HOSTS:
            index = min(set(range(_HOSTS)) - {host.index for host in self.hosts})
            started = await start_host(self.way, self.folder, self._next("host"), f"unix:{self._hidden(index)}")
            self.hosts.append(Host(index, started))
        if self.hosts:
            self._unhide(self.hosts[0])
        addresses = [f"unix:{self._socket(index)}" for index in range(_HOSTS)]
        while len(self.workers) < 2:
            self.workers.append(
                await start_worker(
                    self.way, self.folder, self._next("w"), self.relay_port, addresses, has_store=self.has_store
                )
            )
        await self._until_ready()

    async def reveal_spare(self) -> None:
        """Let the workers find the second host, and wait until they have."""
        self._unhide(self.hosts[1])
        await self._until_ready()

    def _unhide(self, host: Host) -> None:
        if host.is_hidden:
            self._hidden(host.index).replace(self._socket(host.index))
            host.is_hidden = False

    async def _until_ready(self) -> None:
        seen = sum(not each.is_hidden for each in self.hosts)
        async with asyncio.timeout(_READY_TIMEOUT_S):
            for worker in self.workers if self.hosts else ():
                while (await _metrics(worker)).count('state="ready"} 1.0') < seen:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """End all processes."""
        for each in (*self.workers, *self.vendors, *(host.started for host in self.hosts)):
            await each.kill()
        if self.relay is not None:
            self.relay.stop()

    async def kill(self, victim: str, link: NatLink) -> None:
        """Kill the first worker, host or vendor. Traffic of a worker or vendor is led to the spare one."""
        if victim == "worker":
            dead = self.workers.pop(0)
            dead.process.kill()
            link.upstream = self.workers[0].address
            link.rebind()
        elif victim == "host":
            dead = self.hosts.pop(0).started
            dead.process.kill()
        else:
            dead = self.vendors.pop(0)
            dead.process.kill()
            assert self.relay is not None
            self.relay.port = self.vendors[0].facts["port"]
        await dead.process.wait()

    @property
    def orders(self) -> Path:
        """Return where tools write their effects."""
        return self.folder / "orders"

    def keys(self) -> tuple[str, ...]:
        """Return the key of each effect."""
        lines = self.orders.read_text().splitlines() if self.orders.exists() else []
        return tuple(line.partition(" ")[0] for line in lines)

    def violations(self) -> tuple[str, ...]:
        """Return what all vendors complained of."""
        logs = sorted(self.folder.glob("vendor-*.log"))
        return tuple(line for log in logs for line in log.read_text().splitlines() if line.startswith("violation: "))

    def _next(self, kind: str) -> str:
        self.started += 1
        return f"{kind}-{self.started}"

    def _socket(self, index: int) -> Path:
        return self.folder / f"agents-{index}.sock"

    def _hidden(self, index: int) -> Path:
        return self.folder / f"agents-{index}.hidden"


async def _metrics(worker: Started) -> str:
    def get() -> bytes:
        with urllib.request.urlopen(f"http://{worker.facts['admin']}/metrics") as answer:
            contents: bytes = answer.read()
            return contents

    return (await asyncio.to_thread(get)).decode()

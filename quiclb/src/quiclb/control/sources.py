"""Where backends are found while the load balancer runs: host names, and files that other software writes."""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from quiclb.backends.discovery import BackendSet, backends_at
from quiclb.codec.config import QuicLbConfig
from quiclb.errors import ConfigError, UnreadableError, explain
from quiclb.logs.setup import get_logger
from quiclb.net.address import Address, format_address, normalise
from quiclb.routing.pool import Backend
from quiclb.settings.files import files_signature
from quiclb.settings.loader import load_backends
from quiclb.settings.sections import DnsDiscovery, FileDiscovery, OrdinalDiscovery

FILE_INTERVAL_S: Final = 0.5
LOOKUP_TIMEOUT_S: Final = 10.0
_NO_SUCH_NAME: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class BackendSource:
    """Asks again and again, and calls `changed` when the answer differs; a failure leaves the last answer in place.

    Any exception is logged and counted as `failed`, and the source is asked again after the interval.

    `await refresh()` asks once, `start` goes on asking until `stop`. `results` counts by `changed`, `unchanged` and
    `failed`.
    """

    def __init__(self, name: str, interval_s: float, linger_s: float, changed: Callable[[], None]) -> None:
        self.name = name
        self.results: Counter[str] = Counter()
        self._interval_s = interval_s
        self._changed = changed
        self._backend_set = BackendSet(linger_s)
        self._answer: object = None
        self.fault: str | None = None
        """Why the last question got no answer, if it got none."""
        self._may_pass = False
        self._task: asyncio.Task[None] | None = None

    def backends(self, configs: Sequence[QuicLbConfig]) -> list[Backend]:
        """What is found now, with server IDs under these configs."""
        return self._backend_set.backends()

    async def refresh(self) -> bool:
        """Ask once; return whether the answer is another."""
        try:
            answer = await self._ask()
            is_new = bool(answer != self._answer)
            if is_new:
                self._accept(answer)
        except Exception as error:  # a source that ends would keep its last answer for good, in silence
            self.results["failed"] += 1
            self._may_pass = isinstance(error, UnreadableError) or not isinstance(error, ConfigError)
            fault = explain(error)
            if fault != self.fault:
                get_logger().error("discovery failed, the last answer stays", source=self.name, fault=fault)
            self.fault = fault
            return False
        self.fault = None
        self._answer = answer
        self.results["changed" if is_new else "unchanged"] += 1
        return is_new

    def start(self) -> None:
        """Ask every interval from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._interval_s)
            is_forgotten = self._backend_set.forget(loop.time())
            if await self.refresh() or is_forgotten:
                self._changed()

    @abstractmethod
    async def _ask(self) -> Any:
        """Return the answer in a form that compares; may raise anything, usually `OSError` or `ConfigError`."""

    @abstractmethod
    def _accept(self, answer: Any) -> None:
        """Put the answer into the backend set."""


class DnsSource(BackendSource):
    """The addresses of a host name."""

    def __init__(self, entry: DnsDiscovery, changed: Callable[[], None]) -> None:
        super().__init__(f"dns:{entry.host}", entry.interval_s, entry.linger_s, changed)
        self._entry = entry

    def backends(self, configs: Sequence[QuicLbConfig]) -> list[Backend]:
        states = {backend.address: backend.state for backend in super().backends(configs)}
        derived = backends_at(states, configs, self._entry.server_ids)
        return [Backend(each.name, each.address, states[each.address], each.server_ids) for each in derived]

    async def _ask(self) -> list[Address]:
        try:
            return await _look_up(self._entry.host, self._entry.port)
        except socket.gaierror as error:
            raise ConfigError((error.strerror or str(error)).lower()) from None

    def _accept(self, answer: list[Address]) -> None:
        self._backend_set.update(
            [Backend(format_address(address), address) for address in answer], asyncio.get_running_loop().time()
        )
        get_logger().info("backends found", source=self.name, addresses=[format_address(address) for address in answer])


class OrdinalSource(BackendSource):
    """The addresses of numbered host names, each with its number as server ID."""

    def __init__(self, entry: OrdinalDiscovery, changed: Callable[[], None]) -> None:
        super().__init__(f"ordinals:{entry.host}", entry.interval_s, entry.linger_s, changed)
        self._entry = entry
        self._ordinals = {entry.host_of(ordinal): ordinal for ordinal in range(entry.count)}

    def backends(self, configs: Sequence[QuicLbConfig]) -> list[Backend]:
        return [
            replace(
                backend,
                server_ids={
                    config.config_id: (config.ordinal_server_id(self._ordinals[backend.name]),) for config in configs
                },
            )
            for backend in super().backends(configs)
        ]

    async def _ask(self) -> dict[str, Address]:
        addresses = await asyncio.gather(*(self._look_up(host) for host in self._ordinals))
        found = {host: address for host, address in zip(self._ordinals, addresses, strict=True) if address is not None}
        if not found:  # more often a fault of the resolver than a pool without servers
            raise ConfigError("none of the names exists")
        return found

    async def _look_up(self, host: str) -> Address | None:
        """Return the first address of a name, `None` where there is no such name."""
        try:
            found = await _look_up(host, self._entry.port)
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_NAME:
                return None
            raise ConfigError(f"{host}: {(error.strerror or str(error)).lower()}") from None
        return found[0] if found else None

    def _accept(self, answer: dict[str, Address]) -> None:
        self._backend_set.update(
            [Backend(host, address) for host, address in answer.items()], asyncio.get_running_loop().time()
        )
        get_logger().info(
            "backends found",
            source=self.name,
            addresses={self._ordinals[host]: format_address(address) for host, address in answer.items()},
        )


class FileSource(BackendSource):
    """The entries of a file, which is read only when it changed."""

    def __init__(self, entry: FileDiscovery, changed: Callable[[], None]) -> None:
        super().__init__(f"file:{entry.path}", FILE_INTERVAL_S, entry.linger_s, changed)
        self._path: Path = entry.path
        self._signature: object = None
        self._content: tuple[Backend, ...] = ()

    async def refresh(self) -> bool:
        signature = files_signature([self._path])
        if signature == self._signature:
            return False
        self._signature = signature
        is_new = await super().refresh()
        if self.fault is not None and self._may_pass and self._path.exists():
            self._signature = None  # as without a free descriptor: the same file may be read next time
        return is_new

    async def _ask(self) -> tuple[Backend, ...]:
        return load_backends(self._path)

    def _accept(self, answer: tuple[Backend, ...]) -> None:
        self._backend_set.update(answer, asyncio.get_running_loop().time())
        get_logger().info("backends found", source=self.name, backends=[backend.name for backend in answer])


def make_source(entry: DnsDiscovery | OrdinalDiscovery | FileDiscovery, changed: Callable[[], None]) -> BackendSource:
    """The source for a `[[discovery]]` entry."""
    if isinstance(entry, OrdinalDiscovery):
        return OrdinalSource(entry, changed)
    return DnsSource(entry, changed) if isinstance(entry, DnsDiscovery) else FileSource(entry, changed)


async def _look_up(host: str, port: int) -> list[Address]:
    """Return the addresses of a name, sorted; raises `ConfigError` for no answer, `socket.gaierror` for a bad one."""
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except TimeoutError:
        raise ConfigError(f"no answer within {LOOKUP_TIMEOUT_S:g} s") from None
    return sorted({normalise((str(address[0]), int(address[1]))) for *_, address in found})

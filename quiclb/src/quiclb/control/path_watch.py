"""Whether clients' first datagrams fit the paths to the backends, and a log line for each backend where they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from quiclb.backends.probe import PROBE_BYTES
from quiclb.logs.setup import get_logger
from quiclb.net.address import Address, format_address, is_ipv6
from quiclb.net.kernel.routes import RouteMtu, path_mtu
from quiclb.net.spp import HEADER_LENGTH
from quiclb.routing.pool import Backend

UDP_HEADER_BYTES: Final = 8
IP_HEADER_BYTES: Final = {False: 20, True: 40}


def needed_bytes(backend: Address) -> int:
    """The smallest MTU of a usable path: a client's Initial of 1,200 bytes (RFC 9000 14.1), SPP, UDP and IP headers."""
    return PROBE_BYTES + HEADER_LENGTH + UDP_HEADER_BYTES + IP_HEADER_BYTES[is_ipv6(backend)]


def path_fault(backend: Backend, path: RouteMtu) -> str | None:
    """Say why clients' first datagrams do not reach a backend, or return `None`."""
    where = f"backend {backend.name!r} at {format_address(backend.address)}"
    if path.fault is not None:
        return f"nothing can be sent to {where}: {path.fault}"
    needed = needed_bytes(backend.address)
    if path.mtu_bytes is not None and path.mtu_bytes < needed:
        return f"too large for the path to {where}: {needed} bytes needed, the route's MTU is {path.mtu_bytes}"
    return None


class PathWatch:
    """Looks at the routes of backends and logs what changed: one line when a path fails, one when it is good again.

    `inner` is where datagrams come from; `ask` is `kernel.routes.path_mtu`.
    """

    def __init__(self, inner: Address, ask: Callable[[Address, Address], RouteMtu] = path_mtu) -> None:
        self._inner = inner
        self._ask = ask
        self._paths: dict[Address, RouteMtu] = {}
        self._faults: dict[Address, str] = {}

    @property
    def has_fault(self) -> bool:
        """Whether a path was not good when it was looked at last."""
        return bool(self._faults)

    def mtu_bytes(self, backend: Address) -> int | None:
        """The route's MTU when it was looked at last, `None` where it is not known."""
        path = self._paths.get(backend)
        return None if path is None else path.mtu_bytes

    def keep(self, backends: Iterable[Backend]) -> list[Backend]:
        """Forget all other backends; return those never looked at."""
        known = {backend.address: backend for backend in backends}
        self._paths = {address: path for address, path in self._paths.items() if address in known}
        self._faults = {address: fault for address, fault in self._faults.items() if address in known}
        return [backend for address, backend in known.items() if address not in self._paths]

    def look(self, backends: Iterable[Backend]) -> None:
        """Ask the kernel now, some 20 us for each."""
        for backend in backends:
            path = self._paths[backend.address] = self._ask(self._inner, backend.address)
            fault, former = path_fault(backend, path), self._faults.get(backend.address)
            if fault == former:
                continue
            facts = {"backend": backend.name, "address": format_address(backend.address), "mtu_bytes": path.mtu_bytes}
            if fault is None:
                del self._faults[backend.address]
                get_logger().info("path to a backend is good again", **facts)
            else:
                self._faults[backend.address] = fault
                get_logger().error(
                    "clients' first datagrams do not reach a backend",
                    **facts,
                    needed_bytes=needed_bytes(backend.address),
                    fault=fault,
                )

"""Backends that are found rather than listed: their server IDs, how they leave, and how they join the listed ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quiclb.codec.config import QuicLbConfig
from quiclb.errors import ConfigError
from quiclb.net.address import Address, format_address, ip_facts, is_ipv6
from quiclb.routing.pool import Backend, BackendState


@dataclass(frozen=True, slots=True)
class ServerIdPattern:
    """How a server ID follows from an address: made by `parse` or `whole_address`, used by `apply`.

    A part is fixed bytes, or how many of the address's last bytes to take; `None` is the port.
    """

    parts: tuple[bytes | int | None, ...]

    @classmethod
    def parse(cls, text: str) -> ServerIdPattern:
        """Read hexadecimal digits with `{address:N}` and `{port}` among them; raises `ConfigError`."""
        if not text or _PART.sub("", text):
            raise ConfigError(
                f"a server ID pattern holds pairs of hexadecimal digits, {{address:N}} and {{port}}, got {text!r}"
            )
        return cls(tuple(_part(match) for match in _PART.finditer(text)))

    @classmethod
    def whole_address(cls, length_bytes: int) -> ServerIdPattern:
        """The last bytes of the address, as many as the server ID has."""
        return cls((length_bytes,))

    @property
    def length_bytes(self) -> int:
        return sum(2 if part is None else part if isinstance(part, int) else len(part) for part in self.parts)

    def apply(self, address: Address) -> bytes:
        """The server ID of the backend at this address."""
        packed = ip_facts(address[0]).packed
        packed = packed if is_ipv6(address) else bytes(12) + packed[12:]
        data = b""
        for part in self.parts:
            if part is None:
                data += address[1].to_bytes(2, "big")
            else:
                data += packed[-part:] if isinstance(part, int) else part
        return data


def backends_at(
    addresses: Iterable[Address], configs: Sequence[QuicLbConfig], patterns: Mapping[int, str]
) -> list[Backend]:
    """One active backend for each address, named after it; without `patterns` every config takes `whole_address`."""
    if patterns:
        rules = {config_id: ServerIdPattern.parse(text) for config_id, text in patterns.items()}
    else:
        rules = {config.config_id: ServerIdPattern.whole_address(config.server_id_length) for config in configs}
    return [
        Backend(
            format_address(address),
            address,
            server_ids={config_id: (rule.apply(address),) for config_id, rule in rules.items()},
        )
        for address in sorted(set(addresses))
    ]


class BackendSet:
    """What one discovery found, and for `linger_s` seconds what it no longer finds, draining.

    Call `update` with each answer, and `forget` now and then.
    """

    def __init__(self, linger_s: float) -> None:
        self._linger_s = linger_s
        self._present: dict[str, Backend] = {}
        self._leaving: dict[str, tuple[Backend, float]] = {}

    def update(self, backends: Iterable[Backend], now: float) -> None:
        """Take a new answer, whole."""
        answer = {backend.name: backend for backend in backends}
        for name, backend in self._present.items():
            if name not in answer:
                self._leaving[name] = (replace(backend, state=_leaving_state(backend)), now + self._linger_s)
        for name in answer:
            self._leaving.pop(name, None)
        self._present = answer
        self.forget(now)

    def backends(self) -> list[Backend]:
        """Everything that is to be in the table."""
        return [*self._present.values(), *(backend for backend, _ in self._leaving.values())]

    def forget(self, now: float) -> bool:
        """Let go of those whose time is over; return whether there were any."""
        over = [name for name, (_, until) in self._leaving.items() if until <= now]
        for name in over:
            del self._leaving[name]
        return bool(over)


def join(
    configs: Sequence[QuicLbConfig],
    listed: Iterable[Backend],
    found: Iterable[Backend],
    address_fault: Callable[[Address], str | None] = lambda address: None,
) -> tuple[tuple[Backend, ...], tuple[str, ...]]:
    """Return listed and found backends together, and a line for everything found that had to be left out.

    What is listed wins, then what was found first: one address, name or server ID given twice must not stop the rest,
    nor an address that no backend may have, by `BackendAddresses.fault`.
    """
    lengths = {config.config_id: config.server_id_length for config in configs}
    joined = list(listed)
    names = {backend.name for backend in joined}
    addresses = {backend.address for backend in joined}
    owners = {owned: backend.name for backend in joined for owned in backend.owned_server_ids()}
    faults: list[str] = []
    for backend in found:
        if backend.address in addresses:
            continue  # nothing wrong: what is found may be listed too, to set its state by hand
        fault = address_fault(backend.address)
        if fault is not None:
            faults.append(f"backend {backend.name!r} is left out: address {fault}")
            continue
        if backend.name in names:
            faults.append(f"backend {backend.name!r} is left out: the name is taken")
            continue
        kept: dict[int, tuple[bytes, ...]] = {}
        for config_id, server_id in backend.owned_server_ids():
            what = f"server ID {server_id.hex()} of backend {backend.name!r} in config {config_id} is left out"
            if config_id not in lengths:
                faults.append(f"{what}: the config does not exist")
            elif len(server_id) != lengths[config_id]:
                faults.append(f"{what}: the config expects {lengths[config_id]} bytes")
            elif (config_id, server_id) in owners:
                faults.append(f"{what}: it is that of {owners[config_id, server_id]!r}")
            else:
                owners[config_id, server_id] = backend.name
                kept[config_id] = (*kept.get(config_id, ()), server_id)
        names.add(backend.name)
        addresses.add(backend.address)
        joined.append(replace(backend, server_ids=kept))
    return tuple(joined), tuple(faults)


_PART = re.compile(r"\{address:([1-9]|1[0-5])\}|\{port\}|(?:[0-9a-fA-F]{2})+")


def _part(match: re.Match[str]) -> bytes | int | None:
    if match.group(1):
        return int(match.group(1))
    return None if match.group() == "{port}" else bytes.fromhex(match.group())


def _leaving_state(backend: Backend) -> BackendState:
    return BackendState.DOWN if backend.state is BackendState.DOWN else BackendState.DRAINING

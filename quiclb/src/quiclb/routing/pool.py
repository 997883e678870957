"""The backends behind the load balancer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from quiclb.errors import ConfigError
from quiclb.net.address import Address, format_address


class BackendState(StrEnum):
    """Which traffic a backend gets."""

    ACTIVE = "active"
    """Its connection IDs, and a share of what the fallback algorithm places."""
    DRAINING = "draining"
    """Its connection IDs only."""
    DOWN = "down"
    """None; its connection IDs are unroutable."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One server. `address` takes datagrams with an SPP header; `server_ids` maps config IDs to its server IDs in
    each."""

    name: str
    address: Address
    state: BackendState = BackendState.ACTIVE
    server_ids: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)

    def owned_server_ids(self) -> Iterator[tuple[int, bytes]]:
        """Every (config ID, server ID) that is this backend's."""
        for config_id, server_ids in self.server_ids.items():
            for server_id in server_ids:
                yield config_id, server_id


class Pool:
    """All backends, ordered by name so that the order in a file does not matter.

    Raises `ConfigError` where two backends share a name, an address, or a server ID in one config.
    """

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = tuple(sorted(backends, key=lambda backend: backend.name))
        self._check_unique("name", [(b.name, b.name) for b in self._backends])
        self._check_unique("address", [(format_address(b.address), b.name) for b in self._backends])
        self._check_unique(
            "server ID",
            [
                (f"{server_id.hex()} in config {config_id}", backend.name)
                for backend in self._backends
                for config_id, server_id in backend.owned_server_ids()
            ],
        )

    def __iter__(self) -> Iterator[Backend]:
        return iter(self._backends)

    def __len__(self) -> int:
        return len(self._backends)

    def in_state(self, state: BackendState) -> list[Backend]:
        """The backends in this state, by name."""
        return [backend for backend in self._backends if backend.state is state]

    @staticmethod
    def _check_unique(what: str, owned: list[tuple[str, str]]) -> None:
        owners: dict[str, str] = {}
        for value, name in owned:
            if owners.get(value) == name and what == "server ID":
                raise ConfigError(f"backend {name!r} has a server ID twice: {value}")
            if value in owners:
                raise ConfigError(f"backends {owners[value]!r} and {name!r} have the same {what}: {value}")
            owners[value] = name

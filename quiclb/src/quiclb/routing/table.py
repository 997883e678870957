"""Everything a routing decision depends on, as one immutable snapshot."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from quiclb.codec.config import QuicLbConfig
from quiclb.codec.decoder import CidDecoder
from quiclb.errors import ConfigError
from quiclb.net.address import Address
from quiclb.routing.fallback import TABLE_SIZE, Maglev
from quiclb.routing.pool import Backend, BackendState, Pool


def deprecated_generation(version: int) -> int:
    """Return the version of a table that was read by the name `generation`, with a warning to the reader."""
    warnings.warn("`generation` of a table is deprecated, use `version`", DeprecationWarning, stacklevel=3)
    return version


class UnknownServerId(StrEnum):
    """What becomes of a datagram whose server ID no backend has; the draft falls back."""

    FALLBACK = "fallback"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class TableData:
    """A routing table as plain data, for a datapath whose table lives elsewhere, as in the maps of a kernel program.

    `server_ids`, by config ID and server ID, and `fallback` hold indices into `backends`, which are ordered by name.
    The backend in slot `flow_hash(client, vip) % len(fallback)` gets a datagram whose connection ID names none, or one
    that is down; `fallback` is empty without active backends.
    """

    version: int
    configs: tuple[QuicLbConfig, ...]
    backends: tuple[Backend, ...]
    server_ids: Mapping[tuple[int, bytes], int]
    fallback: Sequence[int]
    unknown_server_id: UnknownServerId
    check_cid_length: bool

    @property
    def generation(self) -> int:
        """Deprecated: the former name of `version`."""
        return deprecated_generation(self.version)


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Built by `build_table`; replace it whole to change anything."""

    configs: tuple[QuicLbConfig, ...]
    pool: Pool
    decoder: CidDecoder
    maglev: Maglev
    backends_by_server_id: Mapping[tuple[int, bytes], Backend]
    backends_by_address: Mapping[Address, Backend]
    unknown_server_id: UnknownServerId
    version: int = 0

    @property
    def generation(self) -> int:
        """Deprecated: the former name of `version`."""
        return deprecated_generation(self.version)

    def as_data(self) -> TableData:
        """Return the same table as plain data."""
        backends = tuple(self.pool)
        index = {backend.name: number for number, backend in enumerate(backends)}
        active = [index[backend.name] for backend in self.pool.in_state(BackendState.ACTIVE)]
        return TableData(
            version=self.version,
            configs=self.configs,
            backends=backends,
            server_ids={owned: index[backend.name] for owned, backend in self.backends_by_server_id.items()},
            fallback=[active[slot] for slot in self.maglev.slots],
            unknown_server_id=self.unknown_server_id,
            check_cid_length=self.decoder.checks_self_length,
        )


def build_table(
    configs: Sequence[QuicLbConfig],
    backends: Sequence[Backend],
    *,
    unknown_server_id: UnknownServerId = UnknownServerId.FALLBACK,
    check_cid_length: bool = False,
    version: int = 0,
    fallback_size: int = TABLE_SIZE,
) -> RoutingTable:
    """Join configs and backends; raises `ConfigError` where they do not fit.

    Set `check_cid_length` only if every server encodes the length in its connection IDs.
    """
    decoder = CidDecoder(configs, check_self_length=check_cid_length)
    pool = check_pool(configs, backends)
    return RoutingTable(
        configs=tuple(configs),
        pool=pool,
        decoder=decoder,
        maglev=Maglev(pool.in_state(BackendState.ACTIVE), fallback_size),
        backends_by_server_id={owned: backend for backend in pool for owned in backend.owned_server_ids()},
        backends_by_address={backend.address: backend for backend in pool},
        unknown_server_id=unknown_server_id,
        version=version,
    )


def check_pool(configs: Sequence[QuicLbConfig], backends: Sequence[Backend]) -> Pool:
    """Return the pool; raises `ConfigError` where it contradicts itself or the configs."""
    pool = Pool(backends)
    by_id: dict[int, QuicLbConfig] = {}
    for config in configs:
        if config.config_id in by_id:
            raise ConfigError(f"config ID {config.config_id} is given twice")
        by_id[config.config_id] = config
    for backend in pool:
        for config_id, server_id in backend.owned_server_ids():
            _check_server_id(backend.name, config_id, server_id, by_id)
    return pool


def _check_server_id(name: str, config_id: int, server_id: bytes, configs: Mapping[int, QuicLbConfig]) -> None:
    config = configs.get(config_id)
    if config is None:
        raise ConfigError(f"backend {name!r} has a server ID in config {config_id}, which does not exist")
    if len(server_id) != config.server_id_length:
        raise ConfigError(
            f"backend {name!r}: server ID is {len(server_id)} bytes, config {config_id} expects "
            f"{config.server_id_length}"
        )

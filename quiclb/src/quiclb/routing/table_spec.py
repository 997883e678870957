"""What a routing table is made of, in a form that another process can be sent."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from quiclb.codec.config import QuicLbConfig
from quiclb.errors import ConfigError
from quiclb.routing.pool import Backend
from quiclb.routing.table import RoutingTable, UnknownServerId, build_table, check_pool, deprecated_generation


@dataclass(frozen=True, slots=True)
class TableSpec:
    """Configs and backends, each backend in the state it has in effect: what the file says and what health allows.

    `version` counts the changes. Building takes some 0.2 s when the active backends changed, so build away from
    the thread that forwards (`TableInstaller` does).
    """

    configs: tuple[QuicLbConfig, ...]
    backends: tuple[Backend, ...]
    unknown_server_id: UnknownServerId = UnknownServerId.FALLBACK
    check_cid_length: bool = False
    version: int = 0

    @property
    def generation(self) -> int:
        """Deprecated: the former name of `version`."""
        return deprecated_generation(self.version)

    def check(self) -> None:
        """Raise `ConfigError` where configs and backends do not fit; much cheaper than building."""
        check_pool(self.configs, self.backends)

    def build(self) -> RoutingTable:
        """Return the table; raises `ConfigError` where `check` does."""
        return build_table(
            self.configs,
            self.backends,
            unknown_server_id=self.unknown_server_id,
            check_cid_length=self.check_cid_length,
            version=self.version,
        )

    def encode(self) -> bytes:
        """One line of JSON. It holds the keys: for pipes between processes, not for logs."""
        return msgspec.json.encode(self)

    @staticmethod
    def decode(line: bytes) -> TableSpec:
        """The inverse of `encode`; raises `ConfigError`."""
        try:
            return msgspec.json.decode(line, type=TableSpec)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"not a table: {error}") from None

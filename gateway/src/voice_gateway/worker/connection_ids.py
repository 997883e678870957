"""By which `[[config]]` a worker issues connection IDs, and how it goes over to another while calls go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from quiclb import CidEncoder, QuicLbConfig
from voice_gateway.endpoint.cids.issuers import DEFAULT_ACTIVE_LIMIT, CidIssuer, ServerCidSource, UnroutableIssuer
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.gateway_settings import GatewaySettings
from voicelink.quic.cid_source import RandomBytes

_UNROUTABLE_CID_BYTES: Final = 17
_KEY_BYTES: Final = 32
_log = structlog.get_logger("voice_gateway.worker.connection_ids")


class ConnectionIds:
    """The `Reloadable` that makes `source`, and another one when the settings name another config.

    A follower moves its connections: new connection IDs come with a request to retire the old ones, which are
    good until that is done (draft section "Config Rotation"). An ID, once used, stays that of one config and one server
    ID until the worker ends, since connections may still be called by what it issued.
    """

    name = "connection_ids"

    def __init__(self, settings: GatewaySettings, rng: RandomBytes) -> None:
        self._rng = rng
        self._reset_key = settings.quic.read_reset_key() or rng(_KEY_BYTES)
        self._issued: dict[int, tuple[QuicLbConfig, bytes, CidIssuer]] = {}
        self._unroutable: dict[tuple[bool, int], UnroutableIssuer] = {}
        self._followers: list[Callable[[ServerCidSource], None]] = []
        self.source: ServerCidSource = self._make(settings)

    def follow(self, follower: Callable[[ServerCidSource], None]) -> None:
        """Have `follower` called with each source that replaces the present one."""
        self._followers.append(follower)

    def files(self, settings: GatewaySettings) -> Iterable[Path]:
        return [entry.key_file for entry in settings.config if entry.key_file is not None]

    def reload(self, settings: GatewaySettings) -> None:
        source = self._make(settings)
        if source is self.source:
            return
        if source.length_bytes != self.source.length_bytes:
            raise ConfigurationError(
                f"connection IDs have {self.source.length_bytes} bytes until the worker is started again, "
                f"the new [[config]] makes {source.length_bytes}"
            )
        self.source = source
        for follow in self._followers:
            follow(source)
        _log.info("connection_ids_rotated", config=_config_id(settings))

    def _make(self, settings: GatewaySettings) -> ServerCidSource:
        server_id = settings.server_id
        if server_id is None:
            return self._make_unroutable(settings)
        config = settings.issuing_config()
        used = self._issued.get(config.config_id)
        if used is None:
            issuer = CidIssuer(
                CidEncoder(config, server_id, rng=self._rng),
                self._reset_key,
                self._rng,
                has_plaintext_spares=settings.quic.plaintext_clients_may_migrate,
            )
            used = self._issued[config.config_id] = config, server_id, issuer
        elif used[:2] != (config, server_id):
            raise ConfigurationError(
                f"config {config.config_id} and its server ID cannot change while connections may use them: "
                "give the new one another id"
            )
        return used[2]  # the same one again when a rotation is taken back, or its nonces would repeat

    def _make_unroutable(self, settings: GatewaySettings) -> ServerCidSource:
        may_migrate = settings.may_unroutable_clients_migrate
        # no load balancer stands between a client and the preferred address: there it may move
        active_limit = DEFAULT_ACTIVE_LIMIT if may_migrate or settings.worker.preferred else 1
        made = self._unroutable.get((may_migrate, active_limit))
        if made is None:
            made = self._unroutable[may_migrate, active_limit] = UnroutableIssuer(
                _UNROUTABLE_CID_BYTES,
                self._reset_key,
                self._rng,
                is_migration_disabled=not may_migrate,
                active_limit=active_limit,
            )
        return made


def _config_id(settings: GatewaySettings) -> int | None:
    return settings.issuing_config().config_id if settings.has_routable_cids else None

"""The keys that workers share, which may be replaced while the worker runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from voice_gateway.endpoint.settings import SharedSecrets
from voice_gateway.settings.gateway_settings import GatewaySettings


class SharedKeys:
    """The `Reloadable` of that name: reads `retry_key` and `ticket_key` of `[quic]` again."""

    name = "shared_keys"

    def __init__(self, adopt: Callable[[SharedSecrets], None]) -> None:
        self._adopt = adopt

    def files(self, settings: GatewaySettings) -> Iterable[Path]:
        quic = settings.quic
        return [file for file in (quic.retry_key_file, quic.ticket_key_file) if file is not None]

    def reload(self, settings: GatewaySettings) -> None:
        self._adopt(settings.quic.read_secrets())


class StoreKeys:
    """The `Reloadable` of that name: reads `store_key` of `[session]` again."""

    name = "store_keys"

    def __init__(self, adopt: Callable[[Sequence[bytes]], None]) -> None:
        self._adopt = adopt

    def files(self, settings: GatewaySettings) -> Iterable[Path]:
        file = settings.session.store_key_file
        return [] if file is None else [file]

    def reload(self, settings: GatewaySettings) -> None:
        self._adopt(settings.session.read_store_keys())

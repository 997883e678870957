"""The state changes of backends as debug lines: the same event names and keys for all of a backend's life."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from quiclb.backends.health import Health
from quiclb.logs.setup import log_debug
from quiclb.net.address import format_address
from quiclb.routing.pool import Backend

HEALTH_EVENTS: Final = {
    Health.UNKNOWN: "backend health unknown",
    Health.UP: "backend healthy",
    Health.DOUBTFUL: "backend doubtful",
    Health.DOWN: "backend unhealthy",
}


def log_backend_changes(former: Iterable[Backend], current: Iterable[Backend]) -> None:
    """Log what became of each backend, by its name; states are those given, before health."""
    before = {backend.name: backend for backend in former}
    for backend in current:
        known = before.pop(backend.name, None)
        if known is None:
            _log("backend added", backend, state=backend.state.value)
            continue
        if backend.address != known.address:
            _log("backend address changed", backend, former_address=format_address(known.address))
        if backend.server_ids != known.server_ids:
            _log("backend server IDs changed", backend, former_server_ids=_server_ids(known))
        if backend.state is not known.state:
            _log(f"backend {backend.state.value}", backend, former_state=known.state.value)
    for backend in before.values():
        _log("backend removed", backend)


def log_health_change(backend: Backend, former: Health, health: Health) -> None:
    """Log what the probes found."""
    _log(HEALTH_EVENTS[health], backend, former_health=former.value)


def _log(event: str, backend: Backend, **facts: object) -> None:
    address = format_address(backend.address)
    log_debug(event, backend=backend.name, address=address, server_ids=_server_ids(backend), **facts)


def _server_ids(backend: Backend) -> dict[int, list[str]]:
    """Server IDs in hexadecimal by config ID."""
    return {config_id: [each.hex() for each in server_ids] for config_id, server_ids in backend.server_ids.items()}

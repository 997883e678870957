"""What settings mean: the table they give, for people and programs to check before a load balancer runs."""

from __future__ import annotations

from typing import Any

from quiclb.backends.discovery import join
from quiclb.codec.config import QuicLbConfig
from quiclb.control.path_watch import path_fault
from quiclb.control.sources import make_source
from quiclb.errors import ConfigError
from quiclb.net.address import format_address
from quiclb.net.kernel.routes import path_mtu
from quiclb.routing.pool import Backend
from quiclb.settings.loader import Settings
from quiclb.settings.sections import FileDiscovery


async def summarise(settings: Settings, *, is_resolving: bool = False) -> dict[str, Any]:
    """Describe the effective table without its keys; raises `ConfigError` where it cannot be had.

    Discovery files are read; host names are looked up only if `is_resolving`. `conflicts` says what discovery found
    and the table cannot take, `paths` to which backends this machine's routes do not carry clients' first datagrams.
    """
    spec = settings.table_spec()
    found: list[Backend] = []
    discoveries = []
    for entry in settings.discovery:
        source = make_source(entry, lambda: None)
        if is_resolving or isinstance(entry, FileDiscovery):
            await source.refresh()
            if source.fault is not None:
                raise ConfigError(f"{source.name}: {source.fault}")
            answer = source.backends(spec.configs)
            found += answer
            discoveries.append({"source": source.name, "backends": len(answer)})
        else:
            discoveries.append({"source": source.name, "backends": None})
    backends, conflicts = join(spec.configs, spec.backends, found, settings.backend_addresses().fault)
    section = settings.forwarder
    return {
        "forwarder": {
            "listen": format_address(section.listen),
            "inner": format_address(section.inner),
            "metrics": None if section.metrics is None else format_address(section.metrics),
            "unknown_server_id": section.unknown_server_id.value,
            "check_cid_length": section.check_cid_length,
        },
        "health": settings.health.model_dump(),
        "discovery": discoveries,
        "configs": [_config(layout) for layout in spec.configs],
        "backends": [_backend(backend) for backend in sorted(backends, key=lambda backend: backend.name)],
        "conflicts": list(conflicts),
        "paths": [
            fault
            for backend in backends
            if (fault := path_fault(backend, path_mtu(section.inner, backend.address))) is not None
        ],
    }


def _config(layout: QuicLbConfig) -> dict[str, Any]:
    return {
        "config_id": layout.config_id,
        "algorithm": layout.algorithm.value,
        "cid_length": layout.cid_length,
        "server_id_length": layout.server_id_length,
        "nonce_length": layout.nonce_length,
    }


def _backend(backend: Backend) -> dict[str, Any]:
    server_ids = {str(config_id): [each.hex() for each in ids] for config_id, ids in sorted(backend.server_ids.items())}
    return {
        "name": backend.name,
        "address": format_address(backend.address),
        "state": backend.state.value,
        "server_ids": server_ids,
    }

"""The same pool, in the configuration language of each implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.lb.traffic.pool import CONFIGS, Address, Pool, server_ids

SESSION_TIMEOUT_S = 60
"""How long nginx and Envoy remember a client that is silent; Envoy's default. QUIC-LB load balancers remember none."""

RECEIVE_BUFFER_BYTES = 4 << 20


def reference_arguments(pool: Pool, *, is_shared: bool = False) -> list[str]:
    """The command line of the C reference, without its name."""
    arguments = ["--outer", _text(pool.vip), "--inner", _text(pool.inner)]
    for config in CONFIGS.values():
        key = f",{config.key.hex()}" if config.key else ""
        arguments += ["--config", f"{config.config_id},{config.server_id_length},{config.nonce_length}{key}"]
    for number, backend in enumerate(pool.backends):
        ids = ",".join(f"{config_id}:{data.hex()}" for config_id, data in server_ids(number).items())
        arguments += ["--backend", f"{_text(backend)}={ids}"]
    return [*arguments, "--shared"] if is_shared else arguments


def quiclb(pool: Pool, **section: str | int) -> str:
    """`quiclb.toml`; `section` has further keys of `[forwarder]`, such as which datapath to use."""
    keys = {"listen": _text(pool.vip), "inner": _text(pool.inner), **section}
    lines = ["[forwarder]", "allow_loopback_clients = true"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
    # the backends are echo servers, which answer no probe
    lines += ["", "[health]", "enabled = false"]
    for config in CONFIGS.values():
        lines += ["", "[[config]]", f"id = {config.config_id}", f"server_id_length = {config.server_id_length}"]
        lines.append(f"nonce_length = {config.nonce_length}")
        lines += [f'key = "{config.key.hex()}"'] if config.key else []
    for number, backend in enumerate(pool.backends):
        ids = ", ".join(f'{config_id} = "{data.hex()}"' for config_id, data in server_ids(number).items())
        lines += ["", "[[backend]]", f'name = "backend-{number}"', f'address = "{_text(backend)}"']
        lines.append(f"server_ids = {{ {ids} }}")
    return "\n".join(lines) + "\n"


def nginx(pool: Pool, folder: Path, *, module: Path | None, processes: int = 1, connections: int = 65_536) -> str:
    """`nginx.conf` of a stream proxy that picks backends by a consistent hash of address and port.

    `module` is the stream module where it is a loadable one. `connections` is the most that a worker may have open: one
    for each client it remembers.
    """
    load = f"load_module {module};\n" if module else ""
    servers = "\n".join(f"    server {_text(backend)};" for backend in pool.backends)
    return f"""{load}daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log crit;
worker_processes {processes};
worker_rlimit_nofile {connections + 1024};
events {{
  worker_connections {connections};
}}
stream {{
  access_log off;
  upstream backends {{
    hash $remote_addr:$remote_port consistent;
{servers}
  }}
  server {{
    listen {_text(pool.vip)} udp reuseport rcvbuf={RECEIVE_BUFFER_BYTES};
    proxy_pass backends;
    proxy_timeout {SESSION_TIMEOUT_S}s;
  }}
}}
"""


def envoy(pool: Pool) -> str:
    """Envoy's bootstrap (JSON): one udp_proxy listener that picks backends by Maglev, without a limit of sessions."""
    listener = {
        "name": "vip",
        "address": _socket_address(pool.vip, protocol="UDP"),
        "enable_reuse_port": True,
        "socket_options": [{"level": 1, "name": 8, "int_value": RECEIVE_BUFFER_BYTES, "state": "STATE_PREBIND"}],
        "listener_filters": [{"name": "envoy.filters.udp_listener.udp_proxy", "typed_config": _udp_proxy()}],
    }
    endpoints = [{"endpoint": {"address": _socket_address(backend)}} for backend in pool.backends]
    cluster = {
        "name": "backends",
        "type": "STATIC",
        "lb_policy": "MAGLEV",
        "load_assignment": {"cluster_name": "backends", "endpoints": [{"lb_endpoints": endpoints}]},
        "circuit_breakers": {"thresholds": [{"max_connections": 1 << 30}]},
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}, indent=2)


def _udp_proxy() -> dict[str, Any]:
    route = {"name": "route", "typed_config": {"@type": f"{_UDP_TYPES}.Route", "cluster": "backends"}}
    return {
        "@type": f"{_UDP_TYPES}.UdpProxyConfig",
        "stat_prefix": "vip",
        "matcher": {"on_no_match": {"action": route}},
        "idle_timeout": f"{SESSION_TIMEOUT_S}s",
        "hash_policies": [{"source_ip": True}],
    }


def _socket_address(address: Address, **more: str) -> dict[str, Any]:
    return {"socket_address": {"address": address[0], "port_value": address[1], **more}}


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


_UDP_TYPES = "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3"

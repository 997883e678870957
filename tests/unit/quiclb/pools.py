"""A pool of three backends under three configs, and datagrams for it."""

from __future__ import annotations

from quiclb import CidEncoder, QuicLbConfig
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.table import RoutingTable, build_table

KEY = bytes.fromhex("8f95f09245765f80256934e50c66207f")
CONFIGS = (QuicLbConfig(0, 4, 12, KEY), QuicLbConfig(1, 3, 4, KEY), QuicLbConfig(2, 8, 7))
VIP = ("192.0.2.1", 443)
INNER = ("10.0.0.1", 4434)
CLIENT = ("198.51.100.7", 40001)


def backend(number: int, state: BackendState = BackendState.ACTIVE) -> Backend:
    server_ids = {config.config_id: (bytes((number,)) * config.server_id_length,) for config in CONFIGS}
    return Backend(f"b{number}", (f"10.0.0.{10 + number}", 4433), state, server_ids)


def table(states: dict[int, BackendState] | None = None, **options) -> RoutingTable:
    backends = [backend(number, (states or {}).get(number, BackendState.ACTIVE)) for number in (1, 2, 3)]
    return build_table(CONFIGS, backends, fallback_size=1021, **options)


def cid(number: int, config: QuicLbConfig = CONFIGS[0]) -> bytes:
    server_id = bytes((number,)) * config.server_id_length
    return CidEncoder(config, server_id, rng=bytes).encode_nonce(bytes(range(config.nonce_length)))


def short_packet(dcid: bytes, payload: bytes = b"\x55" * 30) -> bytes:
    return b"\x40" + dcid + payload


def long_packet(dcid: bytes, scid: bytes = b"client") -> bytes:
    return b"\xc0\0\0\0\1" + bytes((len(dcid),)) + dcid + bytes((len(scid),)) + scid + b"payload"

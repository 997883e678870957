"""What every implementation balances over: four backends, three configs at once, and addresses on loopback."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quiclb import QuicLbConfig

Address = tuple[str, int]

VIP_IP = "127.0.1.1"
INNER_IP = "127.0.1.2"
BACKEND_IPS = ("127.0.2.1", "127.0.2.2", "127.0.2.3", "127.0.2.4")

_KEY = bytes.fromhex("8f95f09245765f80256934e50c66207f")


class Traffic(StrEnum):
    """What the datagrams of a run carry in front."""

    PLAINTEXT = "plaintext"
    SINGLE_PASS = "single pass"  # noqa: S105 - an algorithm's name
    FOUR_PASS = "four pass"  # noqa: S105
    INITIAL = "Initials"


CONFIGS = {
    Traffic.PLAINTEXT: QuicLbConfig(config_id=0, server_id_length=3, nonce_length=4),
    Traffic.SINGLE_PASS: QuicLbConfig(config_id=1, server_id_length=4, nonce_length=12, key=_KEY),
    Traffic.FOUR_PASS: QuicLbConfig(config_id=2, server_id_length=5, nonce_length=6, key=_KEY),
}
"""An implementation that reads connection IDs knows all three at any time. Initials carry random ones."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The addresses of one run. The ports are free ones, the same on all backends."""

    vip: Address
    inner: Address
    backends: tuple[Address, ...]


def server_id(traffic: Traffic, backend: int) -> bytes:
    """The server ID of a backend, counted from 0, under one of the three configs."""
    return bytes((0xA0 + backend,)) * CONFIGS[traffic].server_id_length


def server_ids(backend: int) -> dict[int, bytes]:
    """All server IDs of a backend, by config ID."""
    return {config.config_id: server_id(traffic, backend) for traffic, config in CONFIGS.items()}

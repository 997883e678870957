"""The beginnings of datagrams that the load generator replays, one for each flow."""

from __future__ import annotations

from bench.lb.traffic.pool import BACKEND_IPS, CONFIGS, Traffic, server_id
from quiclb import CidEncoder
from quiclb.codec.nonces import RandomBytes

ANY_BACKEND = 255
_FIXED_BIT = 0x40
_INITIAL = 0xC0
_VERSION_1 = bytes.fromhex("00000001")
_CLIENT_CID_LENGTH = 8


def packet_templates(traffic: Traffic, count: int, rng: RandomBytes) -> bytes:
    """Return `count` records of backend (1 byte), length (1) and the bytes of header and connection ID.

    Short headers name the backends in turn, through quiclb's own encoder. Initials carry random destination IDs, as
    clients choose them, so that any backend is right.
    """
    if traffic is Traffic.INITIAL:
        return b"".join(_record(ANY_BACKEND, _initial(rng)) for _ in range(count))
    encoders = [CidEncoder(CONFIGS[traffic], server_id(traffic, b), rng=rng) for b in range(len(BACKEND_IPS))]
    return b"".join(
        _record(i % len(encoders), bytes((_FIXED_BIT | rng(1)[0] & 0x3F,)) + encoders[i % len(encoders)].encode())
        for i in range(count)
    )


def _record(backend: int, head: bytes) -> bytes:
    return bytes((backend, len(head))) + head


def _initial(rng: RandomBytes) -> bytes:
    destination, source = rng(_CLIENT_CID_LENGTH), rng(_CLIENT_CID_LENGTH)
    cids = bytes((len(destination),)) + destination + bytes((len(source),)) + source
    return bytes((_INITIAL,)) + _VERSION_1 + cids + b"\0"

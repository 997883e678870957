"""The fallback algorithm: Maglev hashing of the 4-tuple alone.

Load balancers with the same pool build the same table, so any of them places a flow on the same backend
without talking (draft section "Baseline Fallback Algorithm"; Eisenbud et al., "Maglev", NSDI 2016, section 3.4).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from quiclb.errors import ConfigError
from quiclb.net.address import Address, ip_facts
from quiclb.routing.pool import Backend

TABLE_SIZE = 65537
"""Slots in a table, a prime: each backend's share is then even to about 1 %, with up to some 600 backends."""


class Maglev:
    """Places flows on `backends`. A change of the pool moves the flows of what left, and few others.

    `size` must be prime and larger than the number of backends. No backend at all is allowed: `lookup` gives `None`.
    """

    def __init__(self, backends: Sequence[Backend], size: int = TABLE_SIZE) -> None:
        if len(backends) >= size:
            raise ConfigError(f"a fallback table of {size} slots holds fewer backends than slots, got {len(backends)}")
        self._backends = tuple(sorted(backends, key=lambda backend: backend.name))
        self._slots = _populate(tuple(backend.name for backend in self._backends), size)

    @property
    def slots(self) -> Sequence[int]:
        """For each slot the index of its backend among the backends ordered by name; empty without backends."""
        return self._slots

    def lookup(self, client: Address, vip: Address) -> Backend | None:
        """The backend of a 4-tuple, or `None` while there is none."""
        if not self._slots:
            return None
        return self._backends[self._slots[flow_hash(client, vip) % len(self._slots)]]


def flow_hash(client: Address, vip: Address) -> int:
    """64 bits that depend on the 4-tuple and nothing else: not on the process, nor on the machine's byte order.

    Only shifts, exclusive ors and products of 64-bit words, so that `quiclb.datapath` can take many flows at once.
    """
    high, low = _WORDS.unpack(ip_facts(client[0]).packed)
    return mix(mix(mix(vip_hash(vip) ^ high) ^ low) ^ client[1])


def vip_hash(vip: Address) -> int:
    """The part of `flow_hash` that is the same for all clients of a VIP."""
    high, low = _WORDS.unpack(ip_facts(vip[0]).packed)
    return mix(mix(mix(HASH_SEED ^ high) ^ low) ^ vip[1])


def mix(word: int) -> int:
    """Spread each bit of a 64-bit word over all others (xor-shift and multiply, twice)."""
    word = (word ^ word >> 32) * MIX_MULTIPLIER & _WORD
    word = (word ^ word >> 32) * MIX_MULTIPLIER & _WORD
    return word ^ word >> 32


MIX_MULTIPLIER = 0xD6E8FEB86659FD93
HASH_SEED = int.from_bytes(b"quiclb-f", "big")
_WORD = 2**64 - 1
_WORDS = struct.Struct("!QQ")


# tables follow each other quickly, and most have the same active backends, or those of the one before last
@lru_cache(maxsize=8)
def _populate(names: tuple[str, ...], size: int) -> array[int]:
    """Let the names take turns, each taking its most preferred slot that is still free."""
    slots = array("H" if size <= 65537 else "L", bytes(0))
    if not names:
        return slots
    owner: list[int] = [-1] * size
    next_slots = [_name_hash(name, b"quiclb-offset") % size for name in names]
    skips = [_name_hash(name, b"quiclb-skip") % (size - 1) + 1 for name in names]
    taken = 0
    while True:
        for index, skip in enumerate(skips):
            slot = next_slots[index]
            while owner[slot] >= 0:
                slot = (slot + skip) % size
            owner[slot] = index
            next_slots[index] = (slot + skip) % size
            taken += 1
            if taken == size:
                slots.extend(owner)
                return slots


def _name_hash(name: str, purpose: bytes) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8, person=purpose).digest(), "big")

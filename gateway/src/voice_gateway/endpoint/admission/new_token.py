"""Tokens of NEW_TOKEN frames: who was here before need not prove the address again (RFC 9000 section 8.1.3)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from voice_gateway.endpoint.sockets.client_paths import Path, packed_host
from voice_gateway.endpoint.sealing import PERIOD_S, SealingKeys
from voice_gateway.endpoint.admission.single_use import SingleUse
from voicelink.quic.cid_source import RandomBytes

LIFETIME_S: Final = PERIOD_S
_NUMBER_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """The client is at an address at which it was before."""


class NewTokens:
    """Issues tokens for later connections, and checks those that clients bring back to any worker.

    A token is good for one host address, whatever the port, for `LIFETIME_S`, and once at each worker: what a worker
    has accepted it remembers, and workers do not ask each other. Replayed at another one, a token spares its bearer a
    Retry, no more (RFC 9000 section 8.1.4).
    """

    def __init__(self, secrets: Sequence[bytes], rng: RandomBytes, used: SingleUse | None = None) -> None:
        self.used = used or SingleUse(LIFETIME_S)
        """What was accepted here; hand it on to the next when secrets are replaced."""
        self._keys = SealingKeys(secrets, b"new token 1", rng)
        self._rng = rng

    def issue(self, address: Path, now: float) -> bytes:
        """Return a token for the client whose address was proven."""
        plain = struct.pack("!Q", int(now * 1000)) + packed_host(address) + self._rng(_NUMBER_BYTES)
        return self._keys.seal(plain, now)

    def check(self, token: bytes, address: Path, now: float) -> KnownAddress | None:
        """Judge the token of an Initial packet; one that proves nothing counts as none, never as an error."""
        plain = self._keys.open(token, now)
        if plain is None or plain[8:24] != packed_host(address):
            return None
        age_s = now - int.from_bytes(plain[:8], "big") / 1000
        return KnownAddress() if abs(age_s) <= LIFETIME_S and self.used.take(plain[24:], now) else None

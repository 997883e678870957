"""Retry tokens that any worker with the same key can check (RFC 9000 section 8.1.2)."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.quic.cid_source import RandomOctets

LIFETIME_S: Final = 30.0
"""Clients return a Retry token at once, so it lives only this long (RFC 9000 section 8.1.4)."""

_NONCE_OCTETS: Final = 12
_LABEL: Final = b"retry token 1"


@dataclass(frozen=True, slots=True)
class ValidToken:
    """The client's address is proven; the connection must be told both connection IDs."""

    original_destination_cid: bytes
    retry_source_cid: bytes


@dataclass(frozen=True, slots=True)
class RejectedToken:
    """A token of ours that does not fit this packet: the connection attempt ends with INVALID_TOKEN."""

    reason: str


TokenVerdict = ValidToken | RejectedToken | None
"""`None` is no Retry token of this key, and counts as no token at all."""


class RetryTokens:
    """Makes and checks tokens bound to a client's address, the connection IDs of its Retry, and the wall clock.

    `key` has 16 or 32 octets. Raises `ValueError` for any other.
    """

    def __init__(self, key: bytes, rng: RandomOctets) -> None:
        if len(key) not in (16, 32):
            raise ValueError(f"a retry key has 16 or 32 octets, got {len(key)}")
        self._aead = AESGCM(key)
        self._rng = rng

    def issue(self, address: Any, original_destination_cid: bytes, retry_source_cid: bytes, now: float) -> bytes:
        """Return the token of a Retry packet sent to `address` at `now`, in seconds since 1970."""
        plain = b"".join(
            (
                struct.pack("!Q", int(now * 1000)),
                _packed(address),
                bytes((len(original_destination_cid),)),
                original_destination_cid,
                retry_source_cid,
            )
        )
        nonce = self._rng(_NONCE_OCTETS)
        return nonce + self._aead.encrypt(nonce, plain, _LABEL)

    def check(
        self, token: bytes, address: Any, destination_cid: bytes, now: float
    ) -> ValidToken | RejectedToken | None:
        """Judge the token of an Initial packet; `None` is no Retry token of this key, and counts as no token at all."""
        try:
            plain = self._aead.decrypt(token[:_NONCE_OCTETS], token[_NONCE_OCTETS:], _LABEL)
        except (InvalidTag, ValueError):
            return None
        issued_at_ms = int.from_bytes(plain[:8], "big")
        original_end = 27 + plain[26]
        original, retry_source = plain[27:original_end], plain[original_end:]
        if plain[8:26] != _packed(address):
            return RejectedToken("the token was issued to another address")
        if retry_source != destination_cid:
            return RejectedToken("the packet is not sent to the connection ID of the Retry")
        if abs(now - issued_at_ms / 1000) > LIFETIME_S:
            return RejectedToken(f"the token is older than {LIFETIME_S:.0f} s")
        return ValidToken(original, retry_source)


def _packed(address: Any) -> bytes:
    host = ipaddress.ip_address(address[0].partition("%")[0])
    if isinstance(host, ipaddress.IPv4Address):
        host = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + host.packed)
    port: int = address[1]
    return host.packed + port.to_bytes(2, "big")

"""Retry tokens that any worker with the same secrets can check (RFC 9000 section 8.1.2)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from voice_gateway.endpoint.sockets.client_paths import Path, packed_host
from voice_gateway.endpoint.sealing import SealingKeys
from voicelink.quic.cid_source import RandomBytes

LIFETIME_S: Final = 30.0
"""Clients return a Retry token at once, so it lives only this long (RFC 9000 section 8.1.4)."""


@dataclass(frozen=True, slots=True)
class ValidToken:
    """The client's address is proven; the connection must be told both connection IDs."""

    original_destination_cid: bytes
    retry_source_cid: bytes


@dataclass(frozen=True, slots=True)
class RejectedToken:
    """A token of ours that does not fit this packet: the connection attempt ends with INVALID_TOKEN."""

    reason: str


class RetryTokens:
    """Issues tokens for Retry packets and checks those that clients return; `secrets` are those of `SealingKeys`.

    A token holds the time, the client's address and port, and the connection IDs that the transport parameters must
    repeat (RFC 9000 section 7.3), sealed so that only workers with the same secrets can make or read one. Times are
    seconds since 1970, the same on every worker.
    """

    def __init__(self, secrets: Sequence[bytes], rng: RandomBytes) -> None:
        self._keys = SealingKeys(secrets, b"retry token 2", rng)

    def issue(self, address: Path, original_destination_cid: bytes, retry_source_cid: bytes, now: float) -> bytes:
        """Return a token for the client at `address`, to be sent in a Retry whose source is `retry_source_cid`."""
        plain = b"".join(
            (
                struct.pack("!Q", int(now * 1000)),
                _packed(address),
                bytes((len(original_destination_cid),)),
                original_destination_cid,
                retry_source_cid,
            )
        )
        return self._keys.seal(plain, now)

    def check(
        self, token: bytes, address: Path, destination_cid: bytes, now: float
    ) -> ValidToken | RejectedToken | None:
        """Judge the token of an Initial packet; `None` is no Retry token of these secrets, and counts as none."""
        plain = self._keys.open(token, now)
        if plain is None:
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


def _packed(address: Path) -> bytes:
    port: int = address[1]
    return packed_host(address) + port.to_bytes(2, "big")

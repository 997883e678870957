"""The 1-RTT keys of one direction, as the fast path uses them (RFC 9001 section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aioquic.quic.crypto import CryptoContext
from cryptography.hazmat.primitives.ciphers import CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SAMPLE_BYTES: Final = 16
MAX_NUMBER_BYTES: Final = 4
"""The sample for header protection begins so far behind the start of the packet number."""


@dataclass(frozen=True, slots=True)
class Keys:
    """AES keys: `aead` with its `iv` as a number protects payloads, `header` encrypts samples of them to a mask."""

    aead: AESGCM | ChaCha20Poly1305
    iv: int
    header: CipherContext

    @classmethod
    def of(cls, context: CryptoContext) -> Keys | None:
        """Take them out of aioquic's; `None` where there are none, or the header is protected by ChaCha20."""
        aead, protection = context.aead, context.hp
        if aead is None or protection is None or protection._is_chacha20:
            return None
        return cls(aead._aead, aead._iv, protection._encryptor)

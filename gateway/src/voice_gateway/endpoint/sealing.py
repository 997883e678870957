"""Sealing keys that all workers derive from the secrets they share, and that change by themselves. Sans-IO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from voicelink.quic.cid_source import RandomBytes

PERIOD_S: Final = 86_400.0
"""How long a key seals; for as long again it opens what it sealed, and so nothing sealed lives longer than this."""
SECRET_BYTES: Final = range(16, 65)

_NAME_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


class SealingKeys:
    """Seals bytes for any worker with the same secrets and `purpose` to open, by AES-256-GCM.

    The first secret seals, all of them open. To replace one, add the new one behind it at every worker, then move it to
    the front at every worker, and remove the old one a `PERIOD_S` later. `now` is seconds since 1970 and must be the
    same at all workers, give or take minutes. Raises `ValueError` for a secret shorter than 16 bytes.
    """

    def __init__(self, secrets: Sequence[bytes], purpose: bytes, rng: RandomBytes) -> None:
        for secret in secrets:
            if len(secret) not in SECRET_BYTES:
                raise ValueError(f"a secret has 16 to 64 bytes, got {len(secret)}")
        self._purpose = purpose
        self._rng = rng
        self._secrets = tuple(secrets) or (rng(_KEY_BYTES),)
        self._period: int | None = None
        self._newest = b""
        self._by_name: dict[bytes, AESGCM] = {}

    def seal(self, plain: bytes, now: float) -> bytes:
        """Return `key name (4) | nonce (12) | sealed bytes and tag`."""
        self._renew(now)
        nonce = self._rng(_NONCE_BYTES)
        return self._newest + nonce + self._by_name[self._newest].encrypt(nonce, plain, self._newest)

    def open(self, sealed: bytes, now: float) -> bytes | None:
        """Return what was sealed; `None` for what no worker sealed for this purpose, or too long ago."""
        self._renew(now)
        name, nonce = sealed[:_NAME_BYTES], sealed[_NAME_BYTES : _NAME_BYTES + _NONCE_BYTES]
        key = self._by_name.get(name)
        if key is None:
            return None
        try:
            return key.decrypt(nonce, sealed[_NAME_BYTES + _NONCE_BYTES :], name)
        except (InvalidTag, ValueError):
            return None

    def _renew(self, now: float) -> None:
        period = int(now // PERIOD_S)
        if period == self._period:
            return
        self._period = period
        # the next period's, too: another worker's clock may be a little ahead
        named = [self._derive(secret, each) for each in (period, period - 1, period + 1) for secret in self._secrets]
        self._newest = named[0][0]
        self._by_name = {name: AESGCM(key) for name, key in reversed(named)}

    def _derive(self, secret: bytes, period: int) -> tuple[bytes, bytes]:
        info = self._purpose + b"\0" + period.to_bytes(8, "big", signed=True)
        data = HKDF(SHA256(), _NAME_BYTES + _KEY_BYTES, salt=None, info=info).derive(secret)
        return data[:_NAME_BYTES], data[_NAME_BYTES:]

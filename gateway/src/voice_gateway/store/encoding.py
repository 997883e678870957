"""A session's record as bytes, and back; sealed where there is a key."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from voice_gateway.errors import StoreError
from voice_gateway.store.base import RECORD_VERSION, SessionRecord

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(SessionRecord)
_SEALED: Final = b"\xc1"
"""The one byte that no MessagePack begins with."""
_NAME_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_NAME: Final = slice(len(_SEALED), len(_SEALED) + _NAME_BYTES)
_NONCE: Final = slice(_NAME.stop, _NAME.stop + _NONCE_BYTES)
_log = structlog.get_logger("voice_gateway.store")


class RecordCodec:
    """Turns records into MessagePack and back; with `keys`, 16 to 64 bytes each, seals them by AES-256-GCM.

    The first key seals, all of them open. Each session has a key of its own, derived (RFC 5869) from the shared one and
    the session's ID: a sealed record opens under its own ID alone, and random nonces do not run out. The layout is
    `C1 | key name (4) | nonce (12) | sealed bytes and tag`.
    """

    def __init__(self, keys: Sequence[bytes] = (), *, rng: Callable[[int], bytes] = os.urandom) -> None:
        self._rng = rng
        self._keys: dict[bytes, bytes] = {}
        self.renew(keys)

    def renew(self, keys: Sequence[bytes]) -> None:
        """Seal with the first of these keys from now on, and open with all of them."""
        self._keys = {_derive(key, b"name", _NAME_BYTES): key for key in keys}

    def encode(self, record: SessionRecord) -> bytes:
        """Return the record's bytes; what the state cannot hold raises `StoreError`."""
        try:
            plain = _ENCODER.encode(record)
        except (TypeError, ValueError, OverflowError) as error:
            raise StoreError(f"the session's state cannot be saved: {error}") from None
        if not self._keys:
            return plain
        name, key = next(iter(self._keys.items()))
        head, nonce = _SEALED + name, self._rng(_NONCE_BYTES)
        return head + nonce + _cipher(key, record.session_id).encrypt(nonce, plain, head)

    def decode(self, session_id: str, stored: bytes) -> SessionRecord | None:
        """Read what `encode` made of this session's record; `None` for what no key opens, which is logged.

        Raises `StoreError` for another layout.
        """
        plain = self._open(session_id, stored)
        if plain is None:
            _log.warning(
                "session_record_not_opened", session=session_id, remedy="compare session.store_key of all workers"
            )
            return None
        try:
            record = _DECODER.decode(plain)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(f"a session's record cannot be read: {error}") from None
        if record.version != RECORD_VERSION:
            raise StoreError(f"a session's record has version {record.version}, this worker reads {RECORD_VERSION}")
        return record

    def has_key_of(self, stored: bytes) -> bool:
        """Whether the bytes are sealed by a key that is here, or not sealed at all."""
        return not stored.startswith(_SEALED) or stored[_NAME] in self._keys

    def _open(self, session_id: str, stored: bytes) -> bytes | None:
        if not stored.startswith(_SEALED):
            return None if self._keys else stored
        key = self._keys.get(stored[_NAME])
        if key is None:
            return None
        try:
            return _cipher(key, session_id).decrypt(stored[_NONCE], stored[_NONCE.stop :], stored[: _NAME.stop])
        except (InvalidTag, ValueError):
            return None


def _cipher(key: bytes, session_id: str) -> AESGCM:
    return AESGCM(_derive(key, b"record\0" + session_id.encode(errors="backslashreplace"), _KEY_BYTES))


def _derive(key: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=b"session store " + purpose).derive(key)

"""The algorithms of `quiclb.codec.crypto` over many connection IDs at once: one AES call a pass for a whole batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from quiclb.codec.config import Algorithm, QuicLbConfig
from quiclb.codec.crypto import BLOCK_LENGTH
from quiclb.datapath.linux.batches import ByteArray

ServerIds = Callable[[ByteArray], ByteArray]
"""Takes what stands behind the first bytes, 19 columns; returns at least 16 columns that begin with the server IDs."""


def server_ids_of(config: QuicLbConfig) -> ServerIds:
    """Return the function that decodes connection IDs of this config."""
    if config.algorithm is Algorithm.PLAINTEXT or config.key is None:
        return _plaintext
    if config.algorithm is Algorithm.SINGLE_PASS:
        decrypt = _Blocks(config.key, is_decryption=True)
        return lambda raw: decrypt(np.ascontiguousarray(raw[:, :BLOCK_LENGTH]))
    return _FourPass(config, config.key)


def _plaintext(raw: ByteArray) -> ByteArray:
    return raw


class _FourPass:
    """Undoes passes 4, 3 and 2, and pass 1 where the server ID reaches into the right half.

    With an odd number of bytes the middle one is shared: its high bits are the left half's, its low bits the right's.
    """

    def __init__(self, config: QuicLbConfig, key: bytes) -> None:
        self._encrypt = _Blocks(key, is_decryption=False)
        self._length = length = config.combined_length
        self._half = (length + 1) // 2
        self._is_odd = length % 2 == 1
        self._needs_right = config.server_id_length > config.nonce_length

    def __call__(self, raw: ByteArray) -> ByteArray:
        length, half = self._length, self._half
        left = raw[:, :half].copy()
        right = raw[:, length - half : length].copy()
        if self._is_odd:
            left[:, -1] &= 0xF0
            right[:, 0] &= 0x0F
        block = np.zeros((len(raw), BLOCK_LENGTH), np.uint8)
        block[:, -2] = length
        self._undo(4, left, right, block)
        self._undo(3, right, left, block)
        self._undo(2, left, right, block)
        if self._needs_right:
            self._undo(1, right, left, block)
        joined = np.zeros((len(raw), 20), np.uint8)
        joined[:, :half] = left
        joined[:, length - half : length] |= right
        return joined

    def _undo(self, number: int, target: ByteArray, source: ByteArray, block: ByteArray) -> None:
        block[:, : self._half] = source
        block[:, -1] = number
        target ^= self._encrypt(block)[:, : self._half]
        if self._is_odd and number % 2 == 0:
            target[:, -1] &= 0xF0
        elif self._is_odd:
            target[:, 0] &= 0x0F


class _Blocks:
    """AES-128-ECB over rows of 16 bytes; one context serves for ever."""

    def __init__(self, key: bytes, *, is_decryption: bool) -> None:
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - the draft's block primitive
        self._update = (cipher.decryptor() if is_decryption else cipher.encryptor()).update

    def __call__(self, rows: ByteArray) -> ByteArray:
        return np.frombuffer(self._update(rows.data), np.uint8).reshape(-1, BLOCK_LENGTH)

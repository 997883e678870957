"""The algorithms that hide server ID and nonce: plaintext, one AES block, or a four-pass Feistel network.

A new algorithm is one more class with the methods of `CidCipher` and one more line in `cipher_for`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from quiclb.codec.config import Algorithm, QuicLbConfig

BLOCK_LENGTH = 16

BlockFunction = Callable[[bytes], bytes]
"""Maps one block of 16 bytes to another."""


class CidCipher(Protocol):
    """What stands behind the first byte, in both directions. All lengths are those of the config."""

    def encrypt(self, plaintext: bytes) -> bytes:
        """Hide `server ID | nonce`."""

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Return `server ID | nonce`."""

    def server_id(self, ciphertext: bytes) -> bytes:
        """Return the server ID alone, which may cost less than `decrypt`."""


def cipher_for(config: QuicLbConfig) -> CidCipher:
    """Make the cipher of a config; keep it, the AES contexts inside are dear to make and cheap to use."""
    if config.key is None:
        return Plaintext(config.server_id_length)
    if config.algorithm is Algorithm.SINGLE_PASS:
        return SinglePass(config.key, config.server_id_length)
    return FourPass(aes_encrypt(config.key), config.server_id_length, config.nonce_length)


class Plaintext:
    """Hides nothing (draft section "CID Format")."""

    def __init__(self, server_id_length: int) -> None:
        self._server_id_length = server_id_length

    def encrypt(self, plaintext: bytes) -> bytes:
        return plaintext

    def decrypt(self, ciphertext: bytes) -> bytes:
        return ciphertext

    def server_id(self, ciphertext: bytes) -> bytes:
        return ciphertext[: self._server_id_length]


class SinglePass:
    """Server ID and nonce fill one AES-128 block (draft section "Single-Pass Encryption")."""

    def __init__(self, key: bytes, server_id_length: int) -> None:
        self._encrypt_block = aes_encrypt(key)
        self._decrypt_block = aes_decrypt(key)
        self._server_id_length = server_id_length

    def encrypt(self, plaintext: bytes) -> bytes:
        return self._encrypt_block(plaintext)

    def decrypt(self, ciphertext: bytes) -> bytes:
        return self._decrypt_block(ciphertext)

    def server_id(self, ciphertext: bytes) -> bytes:
        return self._decrypt_block(ciphertext)[: self._server_id_length]


class FourPass:
    """A Feistel network over two halves of 4n bits, n being the bytes of server ID and nonce.

    Integers make the draft's masks for odd n needless: the left half is aligned to the top of its bytes, the right
    one to the bottom (draft section "Four-Pass Encryption").
    """

    def __init__(self, encrypt_block: BlockFunction, server_id_length: int, nonce_length: int) -> None:
        self._encrypt_block = encrypt_block
        self._length = length = server_id_length + nonce_length
        self._half_bits = 4 * length
        self._half_mask = (1 << self._half_bits) - 1
        self._half_length = half_length = (length + 1) // 2
        self._pad_bits = 8 * half_length - self._half_bits
        self._tails = [expand(length, number, bytes(half_length))[half_length:] for number in (1, 2, 3, 4)]
        self._server_id_length = server_id_length
        self._nonce_bits = 8 * nonce_length
        self._is_server_id_in_left = server_id_length <= nonce_length

    def encrypt(self, plaintext: bytes) -> bytes:
        left, right = self._split(plaintext)
        right ^= self._right_mask(1, left)
        left ^= self._left_mask(2, right)
        right ^= self._right_mask(3, left)
        left ^= self._left_mask(4, right)
        return self._join(left, right)

    def decrypt(self, ciphertext: bytes) -> bytes:
        left, right = self._undo_three(ciphertext)
        return self._join(left, right ^ self._right_mask(1, left))

    def server_id(self, ciphertext: bytes) -> bytes:
        """Undo passes 4, 3 and 2; pass 1 only where the server ID reaches into the right half."""
        left, right = self._undo_three(ciphertext)
        if not self._is_server_id_in_left:
            right ^= self._right_mask(1, left)
        return ((left << self._half_bits | right) >> self._nonce_bits).to_bytes(self._server_id_length, "big")

    def _undo_three(self, ciphertext: bytes) -> tuple[int, int]:
        left, right = self._split(ciphertext)
        left ^= self._left_mask(4, right)
        right ^= self._right_mask(3, left)
        left ^= self._left_mask(2, right)
        return left, right

    def _right_mask(self, number: int, left: int) -> int:
        data = (left << self._pad_bits).to_bytes(self._half_length, "big")
        return self._pseudorandom(number, data) & self._half_mask

    def _left_mask(self, number: int, right: int) -> int:
        return self._pseudorandom(number, right.to_bytes(self._half_length, "big")) >> self._pad_bits

    def _pseudorandom(self, number: int, half: bytes) -> int:
        block = self._encrypt_block(half + self._tails[number - 1])
        return int.from_bytes(truncate(block, self._half_length), "big")

    def _split(self, data: bytes) -> tuple[int, int]:
        value = int.from_bytes(data, "big")
        return value >> self._half_bits, value & self._half_mask

    def _join(self, left: int, right: int) -> bytes:
        return (left << self._half_bits | right).to_bytes(self._length, "big")


def expand(length: int, number: int, half: bytes) -> bytes:
    """Fill a half up to a block: `half | zeros | length | pass number`; `length` is that of server ID and nonce."""
    if not 5 <= length <= 19:
        raise ValueError(f"expand takes a length of 5 to 19 bytes, got {length}")
    return half + bytes(BLOCK_LENGTH - 2 - len(half)) + bytes((length, number))


def truncate(block: bytes, length: int) -> bytes:
    """The first `length` bytes of a block."""
    return block[:length]


def aes_encrypt(key: bytes) -> BlockFunction:
    """AES-128 on single blocks; ECB keeps no state between blocks, so one context serves for ever."""
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update  # noqa: S305 - the draft's block primitive


def aes_decrypt(key: bytes) -> BlockFunction:
    """The inverse of `aes_encrypt`."""
    return Cipher(algorithms.AES(key), modes.ECB()).decryptor().update  # noqa: S305

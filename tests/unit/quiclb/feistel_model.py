"""The four-pass algorithm a second time, word for word as the draft has it: bytes and masks, no integers."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def four_pass(key: bytes, plaintext: bytes) -> bytes:
    n = len(plaintext)
    half = (n + 1) // 2
    left, right = bytearray(plaintext[:half]), bytearray(plaintext[n - half :])

    def clear_shared_byte() -> None:
        if n % 2:
            left[-1] &= 0xF0
            right[0] &= 0x0F

    clear_shared_byte()
    for number, (source, target) in enumerate([(left, right), (right, left)] * 2, start=1):
        block = bytes(source) + bytes(14 - half) + bytes((n, number))
        mask = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305
        target[:] = bytes(a ^ b for a, b in zip(target, mask, strict=False))
        clear_shared_byte()
    if n % 2:
        return bytes(left[:-1]) + bytes((left[-1] | right[0],)) + bytes(right[1:])
    return bytes(left + right)

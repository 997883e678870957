"""Where nonces come from.

Under a key a nonce must never come twice, in any order; without one it must not show which CIDs belong together
(draft sections "CID Format" and "Distinguishing Attacks").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from quiclb.errors import EncodeError, NonceExhaustedError

RandomBytes = Callable[[int], bytes]
"""Returns that many unpredictable bytes; `os.urandom` in production."""


class Nonces(Protocol):
    """A source of nonces, all of the config's length."""

    def next(self) -> bytes:
        """The next nonce; raises `NonceExhaustedError` where a repetition would follow."""


class CounterNonces:
    """Counts through every value once, from a random start; for configs with a key.

    `prefix` goes in front of the counter. Processes that share a server ID and a key must each have their own (draft
    section "Server Process Demultiplexing").
    """

    def __init__(self, length: int, rng: RandomBytes, prefix: bytes = b"") -> None:
        self._counter_length = length - len(prefix)
        if self._counter_length < 1:
            raise EncodeError(f"nonce prefix of {len(prefix)} bytes leaves no counter in {length} bytes")
        self._prefix = prefix
        self._modulus = 1 << 8 * self._counter_length
        self._value = int.from_bytes(rng(self._counter_length), "big")
        self._remaining = self._modulus

    @property
    def remaining(self) -> int:
        """How many nonces are left; ask for a new config well before none is (draft section 9.6)."""
        return self._remaining

    def next(self) -> bytes:
        if self._remaining == 0:
            raise NonceExhaustedError(f"all {self._modulus} nonces under this key are used")
        self._remaining -= 1
        nonce = self._prefix + self._value.to_bytes(self._counter_length, "big")
        self._value = (self._value + 1) % self._modulus
        return nonce


class RandomNonces:
    """Independent random values; for configs without a key, where an observer reads them."""

    def __init__(self, length: int, rng: RandomBytes) -> None:
        self._length = length
        self._rng = rng

    def next(self) -> bytes:
        return self._rng(self._length)

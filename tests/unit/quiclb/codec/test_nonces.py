from __future__ import annotations

import os

import pytest

from quiclb import EncodeError, NonceExhaustedError
from quiclb.codec.nonces import CounterNonces, RandomNonces
from tests.unit.quiclb.vectors import fixed_rng


def test_counter_starts_at_random_and_wraps_round():
    nonces = CounterNonces(4, fixed_rng(b"\xff\xff\xff\xfe"))
    assert [nonces.next().hex() for _ in range(3)] == ["fffffffe", "ffffffff", "00000000"]


def test_counter_gives_every_value_once_and_then_raises():
    nonces = CounterNonces(4, fixed_rng(b"\x07"), prefix=b"\x01\x02\x03")
    assert nonces.remaining == 256
    given = [nonces.next() for _ in range(256)]
    assert len(set(given)) == 256
    assert {nonce[:3] for nonce in given} == {b"\x01\x02\x03"}
    assert nonces.remaining == 0
    with pytest.raises(NonceExhaustedError, match="all 256 nonces"):
        nonces.next()


def test_prefix_must_leave_room_for_the_counter():
    with pytest.raises(EncodeError, match="leaves no counter"):
        CounterNonces(4, os.urandom, prefix=b"1234")


def test_random_nonces_are_what_the_source_gives():
    data = iter(range(256))
    nonces = RandomNonces(4, lambda length: bytes(next(data) for _ in range(length)))
    assert (nonces.next(), nonces.next()) == (bytes((0, 1, 2, 3)), bytes((4, 5, 6, 7)))

"""For the length of a simulation every source of randomness is one generator, and every clock is the loop's."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final
from unittest import mock

import numpy.random  # noqa: F401 - a later import, within a simulation, would draw from its randomness
from aioquic import tls
from aioquic.quic.stream import QuicStream
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from OpenSSL import crypto

from testbed.errors import NotSimulatedError
from testbed.simnet.loop import VirtualLoop
from testbed.simnet.sockets import SimSocket

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@contextlib.contextmanager
def deterministic(loop: VirtualLoop, rng: random.Random, wall_epoch_s: float) -> Iterator[None]:
    """Replace clocks, randomness and UDP sockets; key exchanges and signatures draw from `rng` too.

    `wall_epoch_s` is what `time.time()` says when the loop begins.
    """

    def elapsed_wall() -> float:
        return wall_epoch_s + loop.elapsed()

    with contextlib.ExitStack() as stack:
        patch: Callable[..., Any] = lambda *args: stack.enter_context(mock.patch.object(*args))  # noqa: E731
        for module, name in ((os, "urandom"), (random, "_urandom")):
            patch(module, name, rng.randbytes)
        for name, clock in (("time", elapsed_wall), ("monotonic", loop.time), ("perf_counter", loop.time)):
            patch(time, name, clock)
            patch(time, f"{name}_ns", functools.partial(_in_ns, clock))
        patch(time, "sleep", _refuse_sleep)
        patch(socket, "socket", SimSocket)
        patch(tls, "utcnow", lambda: datetime.fromtimestamp(elapsed_wall(), UTC))
        patch(QuicStream, "__hash__", _hash_of_stream)
        patch(crypto.X509Store, "__init__", _store_init(crypto.X509Store.__init__))
        for key, byte_count in ((x25519.X25519PrivateKey, 32), (x448.X448PrivateKey, 56)):
            patch(key, "generate", functools.partial(_generate_key, key, byte_count, rng))
        patch(ec, "generate_private_key", functools.partial(_generate_ec_key, rng))
        patch(ec.ECDSA, "__init__", _deterministic_init(ec.ECDSA.__init__))
        state = random.getstate()
        stack.callback(random.setstate, state)
        random.seed(rng.getrandbits(64))
        yield


def _store_init(original: Callable[..., None]) -> Callable[..., None]:
    """OpenSSL checks certificates by the time of day unless another is set."""

    def init(self: crypto.X509Store) -> None:
        original(self)
        self.set_time(tls.utcnow())

    return init


def _hash_of_stream(stream: QuicStream) -> int:
    """aioquic takes turns among streams in the order of a set, which by default is that of their addresses."""
    return hash(stream.stream_id)


def _in_ns(clock: Callable[[], float]) -> int:
    return int(clock() * 1e9)


def _refuse_sleep(seconds: float) -> None:
    raise NotSimulatedError(f"time.sleep({seconds}) would stop the simulation")


def _generate_key(key: Any, byte_count: int, rng: random.Random) -> Any:
    return key.from_private_bytes(rng.randbytes(byte_count))


def _deterministic_init(original: Callable[..., None]) -> Callable[..., None]:
    """Signatures by RFC 6979: random ones vary even in length."""

    def init(self: ec.ECDSA, algorithm: Any, deterministic_signing: bool = True) -> None:
        original(self, algorithm, deterministic_signing=True)

    return init


def _generate_ec_key(rng: random.Random, curve: ec.EllipticCurve, backend: Any = None) -> ec.EllipticCurvePrivateKey:
    limit = min(_P256_ORDER, 1 << (curve.key_size - 1))
    return ec.derive_private_key(rng.randrange(1, limit), curve)

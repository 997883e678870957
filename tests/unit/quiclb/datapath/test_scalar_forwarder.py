from __future__ import annotations

import errno
import struct
import sys

import pytest

from quiclb import SppHeader, unwrap, wrap
from quiclb.address import normalise
from quiclb.datapath import libc
from quiclb.datapath.base import Side
from quiclb.datapath.scalar_forwarder import MAX_DATAGRAM_OCTETS, ScalarForwarder
from quiclb.datapath.sockets import open_socket
from quiclb.forwarder import ForwardingCore
from quiclb.pool import Backend
from quiclb.table import build_table

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="UDP_GRO is Linux's")


class Bench:
    """A forwarder between one client and one backend, which have plain sockets."""

    def __init__(self) -> None:
        self.vip, self.inner = open_socket(("127.0.0.1", 0), Side.VIP), open_socket(("127.0.0.1", 0), Side.INNER)
        self.client, self.backend = open_socket(("127.0.0.1", 0), Side.VIP), open_socket(("127.0.0.1", 0), Side.VIP)
        self.vip_address, self.client_address = normalise(self.vip.getsockname()), normalise(self.client.getsockname())
        table = build_table([], [Backend("b", normalise(self.backend.getsockname()))], fallback_size=7)
        core = ForwardingCore(table, self.vip_address, normalise(self.inner.getsockname()), is_loopback_allowed=True)
        self.failures: list[tuple[Side, int]] = []
        self.forwarder = ScalarForwarder(self.vip, self.inner, core, lambda *failure: self.failures.append(failure))

    def close(self) -> None:
        for sock in (self.vip, self.inner, self.client, self.backend):
            sock.close()


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.close()


def test_a_datagram_reaches_the_backend(bench):
    bench.client.sendto(b"\x40hello", bench.vip_address)
    assert bench.forwarder.forward_client()
    assert not bench.forwarder.forward_client()
    assert unwrap(bench.backend.recv(2048)) == (SppHeader(bench.client_address, bench.vip_address), b"\x40hello")


def test_joined_replies_are_taken_apart(bench):
    replies = [b"a" * 20, b"b" * 20, b"c" * 5]
    header = SppHeader(bench.client_address, bench.vip_address)
    segment = (libc.SOL_UDP, libc.UDP_SEGMENT, struct.pack("=H", len(wrap(header, replies[0]))))
    wrapped = [wrap(header, reply) for reply in replies]
    bench.backend.sendmsg(wrapped, [segment], 0, bench.inner.getsockname())
    assert bench.forwarder.forward_backend() == 3
    assert bench.forwarder.forward_backend() is None
    assert [bench.client.recv(2048) for _ in replies] == replies


def test_an_empty_datagram_is_one_datagram(bench):
    bench.backend.sendto(b"", bench.inner.getsockname())
    assert bench.forwarder.forward_backend() == 1


def test_what_is_too_long_is_dropped_whole(bench):
    bench.client.sendto(b"\x40" * (MAX_DATAGRAM_OCTETS + 1), bench.vip_address)
    assert bench.forwarder.forward_client()
    assert bench.failures == [(Side.INNER, errno.EMSGSIZE)]
    with pytest.raises(BlockingIOError):
        bench.backend.recv(4096)

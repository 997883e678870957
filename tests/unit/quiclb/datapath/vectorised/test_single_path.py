from __future__ import annotations

import errno
import socket
import struct
import sys

import pytest

from quiclb import QuicLbConfig, SppHeader, unwrap, wrap
from quiclb.datapath.base import Side
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.datapath.linux import libc
from quiclb.datapath.linux.sockets import open_socket
from quiclb.datapath.vectorised import single_path
from quiclb.datapath.vectorised.single_path import MAX_DATAGRAM_BYTES, SinglePath
from quiclb.net.address import normalise
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.table import RoutingTable, build_table

CONFIG = QuicLbConfig(0, 4, 12)
SERVER_ID = b"wxyz"
ROUTABLE = b"\x40\x10" + SERVER_ID + bytes(40)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="UDP_GRO is Linux's")


class Bench:
    """A datapath between one client and one backend, which have plain sockets."""

    def __init__(self) -> None:
        self.vip, self.inner = open_socket(("127.0.0.1", 0), Side.VIP), open_socket(("127.0.0.1", 0), Side.INNER)
        self.client, self.backend = open_socket(("127.0.0.1", 0), Side.VIP), open_socket(("127.0.0.1", 0), Side.VIP)
        self.vip_address, self.client_address = normalise(self.vip.getsockname()), normalise(self.client.getsockname())
        table = self.table()
        self.rules = ForwardingRules(
            table, self.vip_address, normalise(self.inner.getsockname()), is_loopback_allowed=True
        )
        self.failures: list[tuple[Side, int]] = []
        self.path = SinglePath(self.vip, self.inner, self.rules, lambda *failure: self.failures.append(failure))

    def table(self, state: BackendState = BackendState.ACTIVE) -> RoutingTable:
        backend = Backend("b", normalise(self.backend.getsockname()), state, {0: (SERVER_ID,)})
        return build_table([CONFIG], [backend], fallback_size=7)

    def exchange(self, client: socket.socket, datagram: bytes) -> None:
        """One datagram to the backend, which sends it back."""
        client.sendto(datagram, self.vip_address)
        assert self.path.forward_client()
        wrapped, inner = self.backend.recvfrom(4096)
        assert unwrap(wrapped) == (SppHeader(normalise(client.getsockname()), self.vip_address), datagram)
        self.backend.sendto(wrapped, inner)
        assert self.path.forward_backend() == 1
        assert client.recvfrom(4096) == (datagram, self.vip_address)

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
    assert bench.path.forward_client()
    assert not bench.path.forward_client()
    assert unwrap(bench.backend.recv(2048)) == (SppHeader(bench.client_address, bench.vip_address), b"\x40hello")


def test_the_next_datagrams_of_a_client_go_the_same_way_and_are_counted(bench):
    for _ in range(3):
        bench.exchange(bench.client, ROUTABLE)
    assert bench.rules.counters.packets == {("routable", "ok"): 3}
    assert bench.rules.counters.replies == {("sent", "ok"): 3}
    assert bench.rules.counters.backend_packets == {("b", "to"): 3, ("b", "from"): 3}
    assert bench.rules.counters.backend_bytes == {("b", "to"): 3 * len(ROUTABLE), ("b", "from"): 3 * len(ROUTABLE)}


def test_a_new_table_counts_for_clients_that_are_known(bench):
    bench.exchange(bench.client, ROUTABLE)
    bench.rules.table = bench.table(BackendState.DOWN)
    bench.client.sendto(ROUTABLE, bench.vip_address)
    assert bench.path.forward_client()
    with pytest.raises(BlockingIOError):
        bench.backend.recv(4096)
    assert bench.rules.counters.packets == {("routable", "ok"): 1, ("drop", "no-active-backend"): 1}


def test_a_known_header_from_an_untrusted_source_is_dropped(bench):
    bench.exchange(bench.client, ROUTABLE)
    header = SppHeader(bench.client_address, bench.vip_address)
    bench.client.sendto(wrap(header, b"forged"), bench.inner.getsockname())
    assert bench.path.forward_backend() == 1
    assert bench.rules.counters.replies == {("sent", "ok"): 1, ("drop", "stranger"): 1}


def test_no_more_clients_are_kept_than_allowed(bench, monkeypatch):
    monkeypatch.setattr(single_path, "MAX_KEPT", 2)
    for host in range(2, 9):
        with open_socket((f"127.0.0.{host}", 0), Side.VIP) as client:
            for _ in range(2):
                bench.exchange(client, ROUTABLE)
            assert len(bench.path._headers) <= 2
            assert len(bench.path._client_targets) <= 2


def test_joined_replies_are_taken_apart(bench):
    replies = [b"a" * 20, b"b" * 20, b"c" * 5]
    header = SppHeader(bench.client_address, bench.vip_address)
    segment = (libc.SOL_UDP, libc.UDP_SEGMENT, struct.pack("=H", len(wrap(header, replies[0]))))
    wrapped = [wrap(header, reply) for reply in replies]
    bench.backend.sendmsg(wrapped, [segment], 0, bench.inner.getsockname())
    assert bench.path.forward_backend() == 3
    assert bench.path.forward_backend() is None
    assert [bench.client.recv(2048) for _ in replies] == replies


def test_an_empty_datagram_is_one_datagram(bench):
    bench.backend.sendto(b"", bench.inner.getsockname())
    assert bench.path.forward_backend() == 1


def test_what_is_too_long_is_dropped_whole(bench):
    bench.client.sendto(b"\x40" * (MAX_DATAGRAM_BYTES + 1), bench.vip_address)
    assert bench.path.forward_client()
    assert bench.failures == [(Side.INNER, errno.EMSGSIZE)]
    with pytest.raises(BlockingIOError):
        bench.backend.recv(4096)

from __future__ import annotations

import errno
import socket
import sys

import numpy as np
import pytest

from quiclb.datapath.base import Side
from quiclb.datapath.linux import libc
from quiclb.datapath.linux.batches import ReceiveBatch, SendBatch
from quiclb.datapath.linux.sender import Sender
from quiclb.datapath.linux.sockets import open_socket, read_error_queue
from quiclb.datapath.vectorised.arrays.addresses import Ipv4

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recvmmsg and sendmmsg are Linux's")
FAMILY = Ipv4(("127.0.0.1", 1), is_loopback_allowed=True)


class Bench:
    """A sender, a receiver, and a batch to fill."""

    def __init__(self) -> None:
        self.socket = open_socket(("127.0.0.1", 0), Side.INNER)
        self.receiver = open_socket(("127.0.0.1", 0), Side.VIP)
        self.failures: list[tuple[int, int]] = []
        self.sender = Sender(self.socket, lambda error, count: self.failures.append((error, count)))
        self.batch = SendBatch(64, FAMILY.name_length)

    def send(self, datagrams: list[tuple[bytes, tuple[str, int]]], starts: list[int] | None = None) -> None:
        raw = [np.frombuffer(datagram, np.uint8) for datagram, _ in datagrams]
        names = np.frombuffer(b"".join(FAMILY.name(address) for _, address in datagrams), libc.SOCKADDR)
        messages = self.batch.load(
            np.array([item.ctypes.data for item in raw]),
            np.array([len(item) for item in raw]),
            names.ctypes.data + np.arange(len(names)) * names.itemsize,
            None if starts is None else np.array(starts),
        )
        self.sender.send(self.batch, messages)

    def received(self) -> list[bytes]:
        batch = ReceiveBatch(64, 2048)
        count = batch.receive(self.receiver.fileno())
        rows = zip(batch.rows[:count, batch.HEADROOM :], batch.lengths[:count], strict=True)
        return [raw[:length].tobytes() for raw, length in rows]


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.socket.close()
    made.receiver.close()


def test_datagrams_arrive_in_order(bench):
    target = bench.receiver.getsockname()
    sent = [bytes([number]) * (number + 1) for number in range(40)]
    bench.send([(datagram, target) for datagram in sent])
    assert bench.received() == sent
    assert bench.failures == []


def test_one_call_carries_many_datagrams(bench):
    target = bench.receiver.getsockname()
    sent = [b"a" * 100, b"b" * 100, b"c" * 40, b"d" * 10]
    bench.send([(datagram, target) for datagram in sent], starts=[0, 3])
    assert bench.received() == sent


def test_a_bad_datagram_costs_itself_alone(bench):
    target = bench.receiver.getsockname()
    bench.send([(b"first", target), (b"bad", (target[0], 0)), (b"last", target)])
    assert bench.received() == [b"first", b"last"]
    assert bench.failures == [(errno.EINVAL, 1)]


def test_a_datagram_larger_than_the_path_is_counted_and_not_cut(bench):
    target = bench.receiver.getsockname()
    bench.send([(b"first", target), (bytes(65_520), target), (b"last", target)])
    assert bench.received() == [b"first", b"last"]
    assert bench.failures == [(errno.EMSGSIZE, 1)]


def test_a_joined_message_that_is_refused_is_tried_one_by_one(bench):
    bench.send([(b"a" * 10, ("127.0.0.1", 0))] * 3, starts=[0])
    assert bench.failures == [(errno.EINVAL, 1)] * 3


def test_a_device_that_joins_nothing_is_asked_once(bench, monkeypatch):
    calls: list[int] = []

    def refuse_joined(fd: int, headers: int, count: int, flags: int) -> int:
        calls.append(int(bench.batch.piece_counts[0]) if headers == bench.batch.address else 1)
        return -errno.EIO if headers == bench.batch.address else sendmmsg(fd, headers, count, flags)

    sendmmsg = libc.sendmmsg
    monkeypatch.setattr(libc, "sendmmsg", refuse_joined)
    sent = [b"a" * 10, b"b" * 10, b"c" * 4]
    assert bench.sender.can_join
    bench.send([(datagram, bench.receiver.getsockname()) for datagram in sent], starts=[0])
    assert not bench.sender.can_join
    assert bench.received() == sent
    assert bench.failures == []
    assert calls == [3, 1]


def test_an_unreachable_backend_fails_no_other(bench):
    gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gone.bind(("127.0.0.1", 0))
    closed = gone.getsockname()
    gone.close()
    target = bench.receiver.getsockname()
    for number in range(20):
        bench.send([(b"lost", closed), (bytes([number]), target), (b"lost", closed)])
    assert bench.received() == [bytes([number]) for number in range(20)]
    errors = read_error_queue(bench.socket)
    assert errors
    assert set(errors) == {(closed, "ECONNREFUSED")}

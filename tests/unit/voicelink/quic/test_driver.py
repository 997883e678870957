"""When a connection's driver asks to be flushed, and when its timer alone will do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.voicelink.quic.harness import Pair, connected, packet
from voicelink.net.deadline_queue import DeadlineQueue
from voicelink.quic.driver import Driver
from voicelink.quic.events import QuicEvent, StreamDataReceived

PING = b"\x01" + bytes(3)


class Host:
    """An event loop's clock and timer, and the endpoint of one connection: the server of a settled pair."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.events: list[QuicEvent] = []
        self.sent: list[bytes] = []
        self.flushes_asked = 0
        self.timer: tuple[float, Callable[..., None]] | None = None
        self.driver = Driver(pair.server, self, DeadlineQueue(self), self)

    def time(self) -> float:
        return self.pair.now

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> Host:
        self.timer = (when, callback)
        return self

    def cancel(self) -> None:
        self.timer = None

    def datagram_to_send(self, datagram: bytes, address: Any) -> None:
        self.sent.append(datagram)

    def schedule_flush(self) -> None:
        self.flushes_asked += 1

    def event_received(self, event: QuicEvent) -> None:
        self.events.append(event)

    def fault_found(self) -> bool:
        return False

    def receive(self, payload: bytes) -> None:
        self.driver.receive(packet(self.pair.client, payload), self.pair.client_address)

    def fire(self) -> None:
        assert self.timer is not None
        self.pair.now, callback = self.timer
        self.timer = None
        callback()


@pytest.fixture
def host() -> Host:
    pair = connected()
    pair.exchange(12)
    return Host(pair)


def test_a_packet_whose_ack_can_wait_asks_for_no_flush(host: Host) -> None:
    host.driver.flush()
    host.receive(PING)
    assert host.flushes_asked == 0
    assert host.timer is not None
    assert host.timer[0] == host.pair.server._loss.spaces[-1].ack_at
    host.fire()
    assert host.flushes_asked == 1
    host.driver.flush()
    assert len(host.sent) == 1


def test_a_packet_whose_ack_is_due_at_once_asks_for_a_flush(host: Host) -> None:
    for _ in range(host.pair.server.options.ack_packets):
        host.receive(PING)
    assert host.flushes_asked == 1
    host.driver.flush()
    assert len(host.sent) == 1


def test_stream_data_that_the_peer_lets_through_is_sent_without_another_call(host: Host) -> None:
    """MAX_DATA frees what waits: the host queued it long ago, and will not ask again."""
    server = host.pair.server
    stream_id = server.get_next_available_stream_id()
    server.send_stream_data(stream_id, bytes(100))
    server._remote_max_data = server._remote_max_data_used
    host.driver.flush()
    assert host.sent == []
    host.receive(b"\x10\x44\x00" + bytes(3))  # MAX_DATA 1024
    assert host.flushes_asked == 1
    host.driver.flush()
    assert len(host.sent) == 1


def test_data_of_a_stream_with_a_sink_goes_there_and_its_end_to_the_host(host: Host) -> None:
    taken: list[bytes] = []
    host.pair.server.stream_sinks[2] = taken.append
    host.receive(stream_frame(2, b"one") + stream_frame(6, b"other"))
    host.receive(stream_frame(2, b"two", offset=3))
    host.receive(stream_frame(2, b"", offset=6, is_end=True))
    assert taken == [b"one", b"two"]
    assert host.events == [StreamDataReceived(b"other", False, 6), StreamDataReceived(b"", True, 2)]


def test_a_sink_that_raises_costs_its_connection(host: Host) -> None:
    def fail(data: bytes) -> None:
        raise ValueError(data)

    host.pair.server.stream_sinks[2] = fail
    with pytest.raises(ValueError, match="one"):
        host.receive(stream_frame(2, b"one"))
    host.fault_found = lambda: True  # type: ignore[method-assign]
    host.receive(stream_frame(2, b"two", offset=3))


def test_a_connection_that_closes_has_no_sinks(host: Host) -> None:
    taken: list[bytes] = []
    host.pair.server.stream_sinks[2] = taken.append
    host.pair.server.close()
    host.receive(stream_frame(2, b"late"))
    assert taken == []


def stream_frame(stream_id: int, data: bytes, offset: int = 0, *, is_end: bool = False) -> bytes:
    return bytes((0x0E | is_end, stream_id, offset, len(data))) + data

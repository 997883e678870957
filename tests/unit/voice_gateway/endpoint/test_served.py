"""A served connection on a loop that only the test moves: what a forgotten one may still do, which is nothing."""

from __future__ import annotations

import weakref
from typing import Any, cast

import pytest
from aioquic.quic.packet import QuicErrorCode

from tests.unit.voicelink.quic.harness import connected
from voice_gateway.endpoint.served import ConnectionHandler, ServedConnection
from voicelink.net.deadline_queue import DeadlineQueue
from voicelink.quic import H3_NO_ERROR, Connection

CLIENT = ("198.51.100.7", 40001)


class Timer:
    def __init__(self, timers: list[Timer]) -> None:
        self._timers = timers
        timers.append(self)

    def cancel(self) -> None:
        self._timers.remove(self)


class Loop:
    """Keeps what would be called."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def time(self) -> float:
        return 10.0

    def call_at(self, when: float, callback: Any, *args: Any) -> Timer:
        return Timer(self.timers)


class Handler:
    def event_received(self, event: object) -> None: ...

    def terminated(self, reason: str) -> None: ...


class Owner:
    """An endpoint that flushes when the test says so."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.dirty: list[ServedConnection] = []
        self.ended_count = 0

    def send(self, datagram: bytes, path: Any, forwarder: Any) -> None:
        self.sent.append(datagram)

    def flush_soon(self, connection: ServedConnection) -> None:
        self.dirty.append(connection)

    def cid_issued(self, cid: bytes, connection: ServedConnection) -> None: ...
    def cid_retired(self, cid: bytes, connection: ServedConnection, after_s: float) -> None: ...
    def handshake_completed(self, connection: ServedConnection) -> None: ...
    def path_changed(self, connection: ServedConnection) -> None: ...
    def failed(self) -> None: ...

    def ended(self, connection: ServedConnection, error_code: int | None) -> None:
        self.ended_count += 1


def half_open(owner: Owner, loop: Loop) -> ServedConnection:
    """A connection that has received a ClientHello and not answered yet."""
    pair = connected(is_handshaken=False)
    [(initial, _), *_] = pair.client.datagrams_to_send(10.0)
    served = ServedConnection(
        pair.server,
        owner,
        lambda _: cast(ConnectionHandler, Handler()),
        cast(Any, loop),
        DeadlineQueue(cast(Any, loop)),
    )
    served.received(initial, CLIENT, None)
    return served


def test_a_discarded_connection_neither_sends_nor_arms_its_timer_at_a_pending_flush() -> None:
    owner, loop = Owner(), Loop()
    served = half_open(owner, loop)
    served.discard()
    [pending] = owner.dirty
    pending.flush()
    served.flush_soon()
    assert (owner.sent, loop.timers, owner.dirty, owner.ended_count) == ([], [], [pending], 1)


def test_a_discarded_connection_has_no_timer_left() -> None:
    owner, loop = Owner(), Loop()
    served = half_open(owner, loop)
    served.flush()
    assert loop.timers
    served.discard()
    assert loop.timers == []


def test_a_refused_connection_sends_its_close_and_is_forgotten_at_once() -> None:
    owner, loop = Owner(), Loop()
    served = half_open(owner, loop)
    served.refuse(QuicErrorCode.CONNECTION_REFUSED)
    assert (len(owner.sent), loop.timers, owner.ended_count) == (1, [], 1)


@pytest.mark.parametrize("is_handshaken", [False, True])
@pytest.mark.parametrize("has_closed", [False, True])
def test_a_forgotten_connection_is_freed_without_the_cyclic_collector(
    is_handshaken: bool, has_closed: bool, no_collector: None
) -> None:
    owner, loop = Owner(), Loop()
    pair = connected(is_handshaken=is_handshaken)
    served = ServedConnection(
        pair.server,
        owner,
        lambda _: cast(ConnectionHandler, Handler()),
        cast(Any, loop),
        DeadlineQueue(cast(Any, loop)),
    )
    for datagram, _ in pair.client.datagrams_to_send(10.0):
        served.received(datagram, CLIENT, None)
    served.flush()
    if has_closed:
        served.close(H3_NO_ERROR, "over")
        served.flush()
    served.discard()
    quic: weakref.ref[Connection] = weakref.ref(served.quic)
    forgotten = weakref.ref(served)
    owner.dirty.clear()
    del served, pair
    assert forgotten() is None
    assert quic() is None


def test_a_packet_that_is_dropped_unread_makes_no_flush() -> None:
    owner, loop = Owner(), Loop()
    connection = half_open(owner, loop)
    connection.flush()
    owner.dirty.clear()
    connection.received(bytes([0x40]) + bytes(2_000), CLIENT, None)  # longer than the advertised UDP payload
    assert connection.quic.packets_ignored == 1
    assert owner.dirty == []

"""Handshakes at an endpoint without sockets: few are begun in each turn of the event loop, fair by network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.support.udp import issuer
from tests.unit.voicelink.quic.harness import SERVER_ADDRESS, client_configuration, identity, seeded
from voice_gateway.endpoint.admission.pending_connections import (
    HANDSHAKES_PER_TURN,
    MAX_WAITING_BYTES,
    MAX_WAITING_DATAGRAMS,
)
from voice_gateway.endpoint.endpoint import Endpoint, EndpointSettings
from voice_gateway.endpoint.served import ServedConnection
from voicelink.quic import Connection
from voicelink.quic.cid_source import RandomCids

BURST = ("198.51.100.1", 4000)
NEWCOMER = ("203.0.113.9", 4000)


class Handler:
    def event_received(self, event: object) -> None: ...

    def terminated(self, reason: str) -> None: ...


class Bench:
    """`arrives` is what a socket would do; `sent` is what leaves, by address."""

    def __init__(self, **settings: Any) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.accepted: list[ServedConnection] = []
        self.endpoint = Endpoint(EndpointSettings(host=None, **settings), identity(), issuer(), self._accept)
        self.endpoint.send = lambda datagram, path, forwarder: self.sent.append((datagram, path))  # type: ignore[method-assign]  # there is no socket

    def _accept(self, connection: ServedConnection) -> Handler:
        self.accepted.append(connection)
        return Handler()

    def arrives(self, datagram: bytes, address: Any) -> None:
        self.endpoint._public_received(datagram, address)

    def opened_by(self, address: Any) -> int:
        return sum(each.quic.get_peer_address() == address for each in self.accepted)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.endpoint.open()
    yield bench
    await bench.endpoint.close()


def client(seed: int) -> Connection:
    connection = Connection(configuration=client_configuration(), cids=RandomCids(8, seeded(seed)))
    connection.connect(SERVER_ADDRESS, 10.0)
    return connection


def first_flight(seed: int) -> bytes:
    return client(seed).datagrams_to_send(10.0)[0][0]


async def turn() -> None:
    """Let the loop run what is due now."""
    await asyncio.sleep(0)


async def test_a_burst_of_initials_begins_few_handshakes_in_each_turn_of_the_loop(bench: Bench) -> None:
    for seed in range(3 * HANDSHAKES_PER_TURN):
        bench.arrives(first_flight(seed), BURST)
    opened = []
    for _ in range(3):
        opened.append(bench.endpoint.counters.connections_opened)
        await turn()
    assert opened == [HANDSHAKES_PER_TURN, 2 * HANDSHAKES_PER_TURN, 3 * HANDSHAKES_PER_TURN]


async def test_a_newcomer_does_not_wait_for_the_burst_of_another_network(bench: Bench) -> None:
    for seed in range(40):
        bench.arrives(first_flight(seed), BURST)
    bench.arrives(first_flight(40), NEWCOMER)
    await turn()
    await turn()
    assert bench.opened_by(NEWCOMER) == 1
    assert bench.opened_by(BURST) == 3 * HANDSHAKES_PER_TURN - 1


async def test_handshakes_that_wait_count_as_half_open_for_retry(bench: Bench) -> None:
    """`retry_after_half_open` bounds what clients of unproven addresses make an endpoint keep."""
    threshold = EndpointSettings().retry_after_half_open
    for seed in range(threshold + 3):
        bench.arrives(first_flight(seed), BURST)
    assert bench.endpoint.counters.retries_sent == 3
    assert len(bench.endpoint._pending) == threshold - HANDSHAKES_PER_TURN
    for _ in range(threshold):
        await turn()
    assert bench.endpoint.counters.connections_opened == threshold


async def test_an_initial_sent_again_while_the_first_waits_begins_no_second_connection(bench: Bench) -> None:
    for seed in range(2, 2 + HANDSHAKES_PER_TURN):
        bench.arrives(first_flight(seed), BURST)
    datagram = first_flight(1)
    for _ in range(3):
        bench.arrives(datagram, NEWCOMER)
    for _ in range(6):
        await turn()
    assert bench.endpoint.counters.connections_opened == HANDSHAKES_PER_TURN + 1
    assert bench.opened_by(NEWCOMER) == 1


async def test_datagrams_that_wait_are_bounded_in_bytes() -> None:
    """The network with most of them loses its newest; nothing of a dropped client is kept."""
    endpoint = Bench(retry_after_half_open=1_000).endpoint
    await endpoint.open()
    for seed in range(400):
        endpoint._public_received(first_flight(seed), BURST)
    endpoint._public_received(first_flight(400), NEWCOMER)
    dropped = endpoint.counters.handshake_datagrams_dropped
    most = MAX_WAITING_BYTES // (1_200 + 4_096)  # a datagram, and its keys
    assert dropped >= 400 - most
    assert len(endpoint._pending) == len(endpoint._pending._turns) == 401 - HANDSHAKES_PER_TURN - dropped
    while len(endpoint._pending._turns):
        await turn()
    assert endpoint.counters.connections_opened == 401 - dropped
    await endpoint.close()


async def test_one_client_has_at_most_10_datagrams_waiting(bench: Bench) -> None:
    for seed in range(2, 2 + HANDSHAKES_PER_TURN):
        bench.arrives(first_flight(seed), BURST)
    datagram = first_flight(1)
    for _ in range(MAX_WAITING_DATAGRAMS + 5):
        bench.arrives(datagram, NEWCOMER)
    assert MAX_WAITING_DATAGRAMS == 10
    assert bench.endpoint.counters.handshake_datagrams_dropped == 5


async def test_datagrams_of_a_client_that_waits_are_handled_with_its_first(bench: Bench) -> None:
    """Early data and what is sent again wait with the Initial; each alone would be answered apart."""
    for seed in range(2, 2 + HANDSHAKES_PER_TURN):
        bench.arrives(first_flight(seed), BURST)
    datagram = first_flight(1)
    for _ in range(5):
        bench.arrives(datagram, NEWCOMER)
    assert len(bench.endpoint._pending._turns) == 1
    await turn()
    assert len(bench.endpoint._pending._turns) == 0
    assert bench.opened_by(NEWCOMER) == 1


async def test_a_handshake_completes_while_a_burst_waits(bench: Bench) -> None:
    """Each of its datagrams has its turn, however much of the other network waits."""
    connection = client(100)
    now = 10.0
    for seed in range(40):
        bench.arrives(first_flight(seed), BURST)
    for _ in range(3):
        for datagram, _ in connection.datagrams_to_send(now):
            bench.arrives(datagram, NEWCOMER)
        for _ in range(4):
            await turn()
        for datagram, address in bench.sent:
            if address == NEWCOMER:
                connection.receive_datagram(datagram, SERVER_ADDRESS, now)
        bench.sent.clear()
        now += 0.01
    assert connection.is_confirmed
    assert bench.endpoint.counters.handshakes_completed == 1
    assert bench.opened_by(BURST) < 40


async def test_datagrams_of_a_connection_that_has_begun_wait_for_no_turn(bench: Bench) -> None:
    connection = client(100)
    for _ in range(3):
        for datagram, _ in connection.datagrams_to_send(10.0):
            bench.arrives(datagram, NEWCOMER)
        for _ in range(4):
            await turn()
        for datagram, _ in bench.sent:
            connection.receive_datagram(datagram, SERVER_ADDRESS, 10.0)
        bench.sent.clear()
    (served,) = bench.accepted
    for seed in range(10):
        bench.arrives(first_flight(seed), NEWCOMER)
    connection.send_ping(1)
    ((datagram, _),) = connection.datagrams_to_send(10.1)
    before = served.quic._loss.spaces[-1].largest_received_packet
    bench.arrives(datagram, NEWCOMER)
    assert served.quic._loss.spaces[-1].largest_received_packet > before


async def test_nothing_waits_at_a_closed_endpoint() -> None:
    bench = Bench()
    await bench.endpoint.open()
    for seed in range(5):
        bench.arrives(first_flight(seed), BURST)
    await bench.endpoint.close()
    opened = bench.endpoint.counters.connections_opened
    for _ in range(5):
        await turn()
    assert bench.endpoint.counters.connections_opened == opened

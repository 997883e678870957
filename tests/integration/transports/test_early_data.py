"""Early data has no effect before the handshake is complete, at any worker (RFC 8446 section 8, RFC 8470 section 3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aioquic.tls import SessionTicket

from testbed.waiting import until
from tests.integration.support.udp import Client, Sessions, Socket, issuer, serving
from voice_gateway.endpoint.endpoint import Endpoint
from voice_gateway.endpoint.settings import SharedSecrets
from voicelink.h3.webtransport import WebTransportLayer
from voicelink.quic.events import HandshakeCompleted

SECRETS = SharedSecrets(retry=(b"r" * 32,), ticket=(b"t" * 32,))


@asynccontextmanager
async def two(**settings: Any) -> AsyncIterator[tuple[Endpoint, Sessions, Endpoint, Sessions]]:
    first, second = Sessions(), Sessions()
    async with (
        serving(first, issuer(1), secrets=SECRETS, **settings) as one,
        serving(second, issuer(2), secrets=SECRETS, **settings) as other,
    ):
        yield one, first, other, second


async def ticket_from(endpoint: Endpoint) -> SessionTicket:
    assert endpoint.address is not None
    client = await Client(endpoint.address).connect()
    await until(lambda: client.tickets)
    client.close()
    return client.tickets[0]


async def until_settled(endpoint: Endpoint, opened: int) -> None:
    """Wait until the endpoint has opened more connections than before, and none is half open."""
    await until(lambda: endpoint.counters.connections_opened > opened)
    await until(lambda: endpoint.half_open_count == 0)


async def test_a_session_asked_for_in_early_data_begins_once_the_handshake_is_complete() -> None:
    async with two() as (one, _, other, sessions):
        client = Client(other.address or ("", 0), session_ticket=await ticket_from(one))
        await client.connect()
        client.speak(3)
        await until(lambda: client.pongs == [0, 1, 2])
        (completed,) = [event for event in client.quic_events if isinstance(event, HandshakeCompleted)]
        client.close()
    assert completed.session_resumed
    assert completed.early_data_accepted
    assert len(sessions.all) == 1


async def test_a_replayed_flight_makes_no_session_anywhere() -> None:
    """The whole first flight, with its early data, as an eavesdropper would send it again: to both workers, twice."""
    sessions = Sessions()
    async with (
        serving(sessions, issuer(3), secrets=SECRETS) as issuing,
        two(handshake_timeout_s=0.3) as (one, first, other, second),
    ):
        client = Client(issuing.address or ("", 0), session_ticket=await ticket_from(issuing))
        flight: list[bytes] = []
        await client.connect()
        # what has left cannot be taken back, so it is made once more from a connection that never gets an answer
        silent = Client(("127.0.0.1", 9), session_ticket=(await ticket_from(issuing)))
        silent.sockets.append(await Socket.open(lambda datagram, address: None))
        silent.sockets[0].send = lambda datagram, address: flight.append(datagram)  # type: ignore[method-assign]
        silent.quic.connect(silent.server, silent.loop.time())
        silent.layer = WebTransportLayer(silent.quic)
        silent.layer.connect("localhost", "/v1/voice")
        silent.flush()
        assert len(flight) > 0
        await until(lambda: len(sessions.all) == 3)
        eavesdropper = await Socket.open(lambda datagram, address: None)
        for endpoint in (one, other, one, other):
            opened = endpoint.counters.connections_opened
            for datagram in flight:
                eavesdropper.send(datagram, endpoint.address)
            await until_settled(endpoint, opened)
        eavesdropper.close()
        client.close()
        silent.close()
        assert one.counters.handshake_timeouts == other.counters.handshake_timeouts == 2
    assert (len(sessions.all), len(first.all), len(second.all)) == (3, 0, 0)


async def test_early_data_that_a_worker_does_not_want_is_sent_again() -> None:
    async with two() as (one, _, _, _):
        ticket = await ticket_from(one)
    sessions = Sessions()
    async with serving(sessions, issuer(3)) as other:
        client = Client(other.address or ("", 0), session_ticket=ticket)
        await client.connect()
        client.speak(3)
        await until(lambda: client.pongs == [0, 1, 2])
        client.close()
        assert other.counters.handshakes_resumed == 0
    assert len(sessions.all) == 1


async def test_early_data_survives_a_retry() -> None:
    async with two(retry_after_half_open=0) as (one, _, other, sessions):
        client = Client(other.address or ("", 0), session_ticket=await ticket_from(one))
        await client.connect()
        client.speak(3)
        await until(lambda: client.pongs == [0, 1, 2])
        client.close()
        assert other.counters.retries_sent == other.counters.handshakes_resumed == 1
    assert len(sessions.all) == 1

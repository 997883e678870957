"""TLS sessions resumed at another worker, in 1-RTT and 0-RTT."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from aioquic.quic.packet import encode_quic_retry
from aioquic.tls import SessionTicket

from tests.unit.voicelink.quic.harness import (
    SERVER_ADDRESS,
    Pair,
    client_configuration,
    of,
    seeded,
    server_configuration,
)
from voice_gateway.endpoint.credentials import Credentials
from voice_gateway.endpoint.settings import SharedSecrets
from voicelink.quic import Connection, FirstInitial, ResumptionCallbacks
from voicelink.quic.cid_source import RandomCids
from voicelink.quic.events import HandshakeCompleted, StreamDataReceived

SECRETS = SharedSecrets(retry=(b"r" * 32,), ticket=(b"t" * 32,))


def worker(secrets: SharedSecrets = SECRETS, context: bytes = b"context1", seed: int = 1) -> Credentials:
    return Credentials(secrets, context, time.time, seeded(seed))


@dataclass
class Caller:
    """A client that keeps what servers give it."""

    tickets: list[SessionTicket] = field(default_factory=list)
    tokens: list[bytes] = field(default_factory=list)

    def dial(self, server: Credentials, early: bytes = b"", rounds: int = 6, **configuration: Any) -> Pair:
        client = Connection(
            configuration=client_configuration(**configuration),
            cids=RandomCids(8, seeded(1)),
            resumption=ResumptionCallbacks(ticket_received=self.tickets.append, token_received=self.tokens.append),
        )
        responder = Connection(
            configuration=server_configuration(),
            cids=RandomCids(8, seeded(2)),
            first_initial=FirstInitial(client.original_destination_connection_id),
            resumption=ResumptionCallbacks(open_session=server.open_session, seal_session=server.seal_session),
        )
        client.connect(SERVER_ADDRESS, 10.0)
        if early:
            client.send_stream_data(0, early)
        pair = Pair(client, responder)
        pair.exchange(rounds)
        return pair


def handshake(events: list[Any]) -> tuple[bool, bool]:
    completed = of(HandshakeCompleted, events)[0]
    return completed.session_resumed, completed.early_data_accepted


def ticket_of(server: Credentials) -> SessionTicket:
    caller = Caller()
    caller.dial(server)
    assert len(caller.tickets) == 2
    assert caller.tickets[0].resumption_secret != caller.tickets[1].resumption_secret
    return caller.tickets[0]


def test_a_session_is_resumed_at_another_worker_with_the_same_secret() -> None:
    caller = Caller()
    pair = caller.dial(worker(seed=2), session_ticket=ticket_of(worker(seed=1)))
    assert handshake(pair.server_events) == handshake(pair.client_events) == (True, True)
    assert pair.client.is_resumed
    assert pair.client.peer_certificate_der is None
    assert len(caller.tickets) == 2


def test_early_data_arrives_in_half_a_round_trip() -> None:
    pair = Caller().dial(worker(), early=b"early", rounds=0, session_ticket=ticket_of(worker()))
    assert pair.client.has_early_keys
    pair.client_sends()
    assert b"".join(event.data for event in of(StreamDataReceived, pair.server_events)) == b"early"
    assert not pair.server.is_confirmed


@pytest.mark.parametrize(
    "stranger",
    [
        worker(SharedSecrets(ticket=(b"x" * 32,))),
        worker(SharedSecrets()),
        worker(context=b"context2"),
        Credentials(SECRETS, b"context1", lambda: time.time() + 90_000, seeded(1)),
    ],
    ids=["foreign key", "drawn key", "other limits", "expired"],
)
def test_a_ticket_that_is_not_good_means_a_full_handshake_and_early_data_is_sent_again(stranger: Credentials) -> None:
    pair = Caller().dial(stranger, early=b"early", rounds=0, session_ticket=ticket_of(worker()))
    for _ in range(2):
        pair.client_sends()
        pair.server_sends()
    assert handshake(pair.client_events) == (False, False)
    # two round trips, without waiting for a probe timeout
    pair.client_sends()
    assert b"".join(event.data for event in of(StreamDataReceived, pair.server_events)) == b"early"


def test_a_ticket_cannot_be_altered() -> None:
    ticket = ticket_of(worker())
    for index in (0, 5, 20, -1):
        altered = bytearray(ticket.ticket)
        altered[index] ^= 1
        assert worker().open_session(bytes(altered)) is None


def test_early_data_survives_a_retry() -> None:
    server = worker()
    client = Connection(
        configuration=client_configuration(session_ticket=ticket_of(server)), cids=RandomCids(8, seeded(1))
    )
    client.connect(SERVER_ADDRESS, 10.0)
    client.send_stream_data(0, b"early")
    original = client.original_destination_connection_id
    assert len(client.datagrams_to_send(10.0)) > 0
    retry = encode_quic_retry(
        version=1,
        source_cid=b"retrycid",
        destination_cid=client.host_cid,
        original_destination_cid=original,
        retry_token=b"token",
    )
    client.receive_datagram(retry, SERVER_ADDRESS, 10.05)
    responder = Connection(
        configuration=server_configuration(),
        cids=RandomCids(8, seeded(2)),
        first_initial=FirstInitial(original, b"retrycid"),
        resumption=ResumptionCallbacks(open_session=server.open_session, seal_session=server.seal_session),
    )
    pair = Pair(client, responder, now=10.1)
    pair.client_sends()
    assert b"".join(event.data for event in of(StreamDataReceived, pair.server_events)) == b"early"
    assert client._loss.bytes_in_flight <= sum(
        packet.sent_bytes for space in client._loss.spaces for packet in space.sent_packets.values()
    )


def test_a_worker_without_a_sealer_issues_no_ticket() -> None:
    caller = Caller()
    client = Connection(
        configuration=client_configuration(),
        cids=RandomCids(8, seeded(1)),
        resumption=ResumptionCallbacks(ticket_received=caller.tickets.append),
    )
    responder = Connection(
        configuration=server_configuration(),
        cids=RandomCids(8, seeded(2)),
        first_initial=FirstInitial(client.original_destination_connection_id),
    )
    client.connect(SERVER_ADDRESS, 10.0)
    Pair(client, responder).exchange()
    assert caller.tickets == []


def test_an_address_known_from_a_token_is_not_limited_to_three_times_what_it_sent() -> None:
    pair = Caller().dial(worker(), rounds=0)
    pair.client_sends()
    assert not pair.server._network_paths[0].is_validated
    pair.server.prove_address()
    assert pair.server._network_paths[0].is_validated

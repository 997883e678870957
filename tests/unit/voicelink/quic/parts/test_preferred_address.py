"""A server's preferred address, sans-IO (RFC 9000 section 9.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.voicelink.quic.harness import CLIENT_ADDRESS, SERVER_ADDRESS, Pair, connected, of, seeded
from voice_gateway.endpoint.cids.issuers import UnroutableIssuer
from voicelink.quic import PathFailed, PreferredAddress, PreferredAddressOffered, ServerMoved
from voicelink.quic.events import HandshakeCompleted, PeerMoved

PREFERRED = ("192.0.2.99", 4444)
BEYOND = ("198.51.100.7", 40002)
"""The client's address as the server sees it at its preferred address."""


def offered(**more: Any) -> Pair:
    pair = connected(preferred_address=PreferredAddress(ipv4=PREFERRED), **more)
    pair.exchange(2)
    assert of(PreferredAddressOffered, pair.client_events) == [PreferredAddressOffered(PREFERRED)]
    return pair


def exchange(pair: Pair, rounds: int = 8, *, is_reachable: Callable[[Any], bool] = lambda address: True) -> None:
    """As `Pair.exchange`, with two addresses of the server and the client's two sockets."""
    for _ in range(rounds):
        pair.fire_timers()
        sent = pair.client.datagrams_to_send(pair.now)
        pair.now += 0.025
        for datagram, address in sent:
            if is_reachable(address):
                pair.server.receive_datagram(datagram, BEYOND if address == PREFERRED else CLIENT_ADDRESS, pair.now)
        pair.collect()
        pair.fire_timers()
        back = pair.server.datagrams_to_send(pair.now)
        pair.now += 0.025
        for datagram, address in back:
            pair.client.receive_datagram(datagram, PREFERRED if address == BEYOND else SERVER_ADDRESS, pair.now)
        pair.collect()


def test_the_offer_comes_once_the_handshake_is_confirmed_and_nothing_is_sent_there_before() -> None:
    pair = offered()
    kinds = [type(event) for event in pair.client_events]
    assert kinds.index(HandshakeCompleted) < kinds.index(PreferredAddressOffered)
    assert {address for _, address in pair.client.datagrams_to_send(pair.now)} <= {SERVER_ADDRESS}


def test_the_client_goes_there_with_the_connection_id_of_the_parameter() -> None:
    pair = offered()
    spare = pair.server.host_cids[1]
    assert pair.client.probe_preferred_address(PREFERRED)
    (datagram, address), *_ = [each for each in pair.client.datagrams_to_send(pair.now) if each[1] == PREFERRED]
    assert (address, datagram[1:9]) == (PREFERRED, spare)
    pair.server.receive_datagram(datagram, BEYOND, pair.now)
    exchange(pair)
    assert of(ServerMoved, pair.client_events) == [ServerMoved(PREFERRED)]
    pair.client.send_ping(1)
    exchange(pair, 3)
    assert pair.client.get_peer_address() == PREFERRED
    assert of(PeerMoved, pair.server_events) == [PeerMoved(BEYOND)]


def test_a_lost_challenge_is_sent_again() -> None:
    pair = offered()
    pair.client.probe_preferred_address(PREFERRED)
    lost: list[Any] = []

    def is_reachable(address: Any) -> bool:
        if address == PREFERRED and not lost:
            lost.append(address)
            return False
        return True

    for number in range(12):
        pair.client.send_ping(number)
        exchange(pair, 1, is_reachable=is_reachable)
    assert lost
    assert pair.client.get_peer_address() == PREFERRED


def test_an_address_that_never_answers_is_left_and_its_connection_id_retired() -> None:
    pair = offered()
    spare = pair.server.host_cids[1]
    pair.client.probe_preferred_address(PREFERRED)
    for number in range(40):
        pair.client.send_ping(number)
        exchange(pair, 1, is_reachable=lambda address: address != PREFERRED)
    assert of(PathFailed, pair.client_events) == [PathFailed(PREFERRED)]
    assert pair.client.get_peer_address() == SERVER_ADDRESS
    assert spare not in pair.server.host_cids


@pytest.mark.parametrize("is_there", [False, True], ids=["at the first address", "at the preferred address"])
def test_the_ban_of_migration_ends_at_the_preferred_address(is_there: bool) -> None:
    pair = offered(server_cids=UnroutableIssuer(17, b"r" * 32, seeded(4), active_limit=4))
    assert not pair.client.can_migrate
    if is_there:
        pair.client.probe_preferred_address(PREFERRED)
        exchange(pair)
    assert pair.client.can_migrate is is_there

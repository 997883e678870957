"""Migration, rebinding and path validation: the gaps of aioquic that `voicelink.quic` closes."""

from __future__ import annotations

import pytest
from aioquic.quic.connection import QuicNetworkPath

from tests.unit.voicelink.quic.harness import (
    CLIENT_ADDRESS,
    SERVER_ADDRESS,
    Pair,
    connected,
    of,
    seeded,
)
from voicelink.quic import (
    PathFailed,
    PathValidated,
    PeerMoved,
)
from voicelink.quic.cid_source import RandomCids
from voicelink.quic.events import ConnectionTerminated, StreamDataReceived

ELSEWHERE = ("203.0.113.9", 40002)


def test_client_migration_is_validated_by_both_sides_under_a_fresh_connection_id() -> None:
    pair = connected()
    before = pair.client._peer_cid.cid
    pair.client_address = ELSEWHERE
    assert pair.client.begin_migration(pair.now)
    assert pair.client._peer_cid.cid != before
    pair.exchange()
    assert of(PathValidated, pair.client_events) == [PathValidated(SERVER_ADDRESS)]
    assert of(PeerMoved, pair.server_events) == [PeerMoved(ELSEWHERE)]
    assert pair.server.get_peer_address() == ELSEWHERE
    pair.server.send_stream_data(1, b"to the new address")
    pair.exchange()
    assert of(StreamDataReceived, pair.client_events)[-1].data == b"to the new address"


def test_a_lost_challenge_of_the_client_is_sent_again() -> None:
    pair = connected()
    pair.client_address = ELSEWHERE
    pair.client.begin_migration(pair.now)
    pair.client.datagrams_to_send(pair.now)  # lost
    pair.client.send_stream_data(0, b"x")
    for _ in range(12):
        pair.now += 0.02
        pair.exchange(1)
    assert of(PathValidated, pair.client_events)


def test_a_migration_without_an_answer_fails_and_the_next_may_succeed() -> None:
    pair = connected()
    assert pair.client.begin_migration(pair.now)
    pair.client.datagrams_to_send(pair.now)
    for _ in range(20):
        pair.now += 0.1
        pair.fire_timers()
        pair.client.datagrams_to_send(pair.now)
    assert of(PathFailed, pair.client_events) == [PathFailed(SERVER_ADDRESS)]
    pair.client_address = ELSEWHERE
    assert pair.client.begin_migration(pair.now)
    pair.exchange(20)
    assert of(PathValidated, pair.client_events)


def test_a_server_challenges_again_when_the_response_was_lost() -> None:
    pair = connected()
    pair.client_address = ELSEWHERE
    pair.client.send_stream_data(0, b"rebound")
    pair.client_sends()
    pair.server_sends()  # the challenge arrives
    pair.client.datagrams_to_send(pair.now)  # the response is lost
    pair.client.send_stream_data(0, b"more")
    for _ in range(6):
        pair.now += 0.02
        pair.client.send_stream_data(0, b"more")
        pair.exchange(1)
    assert of(PeerMoved, pair.server_events) == [PeerMoved(ELSEWHERE)]


def grown() -> Pair:
    """A pair whose server has outgrown its initial congestion window."""
    pair = connected()
    pair.server.send_stream_data(1, bytes(60_000))
    pair.exchange(10)
    assert pair.server._loss.congestion_window > 20_000
    return pair


def test_congestion_state_starts_afresh_on_a_new_address() -> None:
    pair = grown()
    pair.client_address = ELSEWHERE
    pair.client.send_stream_data(0, b"x")
    pair.client_sends()
    assert pair.server._loss.congestion_window == 12_000
    assert pair.server._loss.bytes_in_flight == 0
    assert not pair.server._loss._rtt_initialized


def test_congestion_state_is_kept_when_only_the_port_changes() -> None:
    pair = grown()
    pair.client_address = (CLIENT_ADDRESS[0], 50_000)
    pair.client.send_stream_data(0, b"x")
    pair.client_sends()
    assert pair.server._loss.congestion_window > 20_000


def test_acknowledgements_of_the_old_path_say_nothing_about_the_new_ones_round_trip() -> None:
    pair = grown()
    pair.server.send_stream_data(1, b"on the old path")
    old = pair.server.datagrams_to_send(pair.now)
    pair.client_address = ELSEWHERE
    pair.client.send_stream_data(0, b"x")
    pair.client_sends()
    for datagram, _ in old:
        pair.client.receive_datagram(datagram, SERVER_ADDRESS, pair.now)
    pair.now += 5.0
    pair.client_sends()
    assert not pair.server._loss._rtt_initialized
    pair.exchange(10)
    assert pair.server._loss._rtt_smoothed < 1.0


def test_a_probe_only_packet_of_a_peer_without_connection_ids_is_answered() -> None:
    pair = connected(client_cids=RandomCids(0, seeded(1)))
    path = QuicNetworkPath(SERVER_ADDRESS)
    path.peer_cid = pair.client._peer_cid_available.pop(0)
    pair.client._network_paths.append(path)
    for datagram, _ in pair.client._send_probing_frames(network_path=path, now=pair.now):
        pair.server.receive_datagram(datagram, ELSEWHERE, pair.now)
    answers = [each for each in pair.server.datagrams_to_send(pair.now) if each[1] == ELSEWHERE]
    assert len(answers) == 1
    pair.client.receive_datagram(answers[0][0], SERVER_ADDRESS, pair.now)
    assert path.is_validated
    assert pair.server.get_peer_address() == CLIENT_ADDRESS
    pair.exchange()
    assert not of(ConnectionTerminated, pair.client_events + pair.server_events)


@pytest.mark.parametrize("reason", ["", "x" * 200])
def test_a_close_to_an_unvalidated_address_stays_within_three_times_what_it_sent(reason: str) -> None:
    """RFC 9000 section 8.1: every byte counts, those of a CONNECTION_CLOSE too."""
    pair = connected(is_handshaken=False)
    initials = [datagram for datagram, _ in pair.client.datagrams_to_send(10.0)]
    for initial in initials:
        pair.server.receive_datagram(initial, pair.client_address, 10.0)
    received, sent, now = sum(map(len, initials)), 0, 10.0
    while 3 * received - sent >= 100:  # probe timeouts fill what the limit allows
        sent += sum(len(datagram) for datagram, _ in pair.server.datagrams_to_send(now))
        now = pair.server.get_timer() or now
        if 3 * received - sent >= 100:
            pair.server.handle_timer(now)
    assert not pair.server.is_ended
    pair.server.close(reason_phrase=reason)
    sent += sum(len(datagram) for datagram, _ in pair.server.datagrams_to_send(now))
    assert sent <= 3 * received


def test_a_close_that_fits_the_amplification_limit_is_sent() -> None:
    pair = connected(is_handshaken=False)
    pair.client_sends()
    pair.server.close()
    assert len(pair.server.datagrams_to_send(pair.now)) == 1

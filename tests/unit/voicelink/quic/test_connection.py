"""One test for each gap of aioquic that `voicelink.quic` closes."""

from __future__ import annotations

import aioquic
import pytest
from aioquic import tls
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode

from quiclb import CidDecoder, CidEncoder, Decoded, QuicLbConfig
from tests.unit.voicelink.quic.harness import (
    SERVER_ADDRESS,
    client_configuration,
    connected,
    of,
    seeded,
)
from voice_gateway.endpoint.cids.issuers import CidIssuer, UnroutableIssuer
from voicelink.quic import (
    AIOQUIC_VERSION,
    Connection,
    ConnectionOptions,
    PeerClosed,
)
from voicelink.quic.cid_source import RandomCids
from voicelink.quic.events import (
    ConnectionTerminated,
    DatagramFrameReceived,
    HandshakeCompleted,
    QuicEvent,
    StreamDataReceived,
)
from voicelink.quic.stateless import stateless_reset

SERVER_ID = b"\0\0\0\7"


def issuer(config_id: int = 0) -> CidIssuer:
    config = QuicLbConfig(config_id, len(SERVER_ID), 12, key=b"k" * 16)
    return CidIssuer(CidEncoder(config, SERVER_ID, rng=seeded(config_id)), b"r" * 32, seeded(9))


def terminated(events: list[QuicEvent]) -> tuple[int, str]:
    event = of(ConnectionTerminated, events)[0]
    return event.error_code, event.reason_phrase


def test_the_installed_aioquic_is_the_one_this_package_is_written_against() -> None:
    assert aioquic.__version__ == AIOQUIC_VERSION


def test_every_private_name_that_is_overridden_exists_in_aioquic() -> None:
    overridden = {name for name in vars(Connection) if name[0] == "_" and name[:2] != "__"}
    ours = {name for name in overridden if not hasattr(QuicConnection, name)}
    assert Connection.__bases__ == (QuicConnection,)
    assert ours == {
        "_begin_path",
        "_built_datagrams",
        "_built_without_peer_cids",
        "_crypto_overflow",
        "_finish_handshake",
        "_follow_path",
        "_handle_ack_frequency_frame",
        "_handle_immediate_ack_frame",
        "_handle_reset_stream_at_frame",
        "_next_datagram_bytes",
        "_peer_cids_in_use",
        "_reset_by_peer",
        "_space",
        "_write_ack_frequency_frame",
        "_write_new_token_frame",
    }


def test_a_client_makes_keys_for_two_groups_alone() -> None:
    pair = connected(is_handshaken=False)
    assert pair.client.tls._supported_groups == [tls.Group.SECP256R1, tls.Group.X25519]
    assert len(pair.client.tls._ec_private_keys) == 1
    pair.exchange()
    assert len(pair.server.tls._supported_groups) > 2


# Connection IDs


def test_the_initial_and_the_spare_connection_ids_are_the_sources() -> None:
    pair = connected(server_cids=issuer())
    decoder = CidDecoder([QuicLbConfig(0, len(SERVER_ID), 12, key=b"k" * 16)])
    assert len(pair.server.host_cids) == 4
    assert {decoder.decode(cid, True) for cid in pair.server.host_cids} == {Decoded(0, SERVER_ID)}


def test_a_source_of_another_length_than_configured_is_refused() -> None:
    with pytest.raises(ValueError, match="connection IDs are 9 bytes, configured are 8"):
        Connection(configuration=client_configuration(), cids=RandomCids(9, seeded(1)))


def test_retiring_a_connection_id_that_was_not_sent_yet_is_a_protocol_violation() -> None:
    pair = connected(server_cids=issuer())
    pair.client._retire_connection_ids += [1, 4]  # 4 is drawn in place of 1, and not sent yet
    pair.client._steady.end()
    pair.exchange(30)
    code, reason = terminated(pair.client_events)
    assert (code, reason) == (QuicErrorCode.PROTOCOL_VIOLATION, "connection ID 4 was never sent")


def test_rotation_issues_new_connection_ids_and_retires_all_old_ones() -> None:
    pair = connected(server_cids=issuer(0))
    old = set(pair.server.host_cids)
    pair.server.rotate_cids(issuer(3))
    pair.exchange()
    assert {cid[0] >> 5 for cid in pair.server.host_cids} == {3}
    assert len(pair.server.host_cids) == 4
    assert not old & set(pair.server.host_cids)
    pair.client.send_stream_data(0, b"still here")
    pair.exchange()
    assert of(StreamDataReceived, pair.server_events)[-1].data == b"still here"


def test_rotation_during_the_handshake_leaves_no_connection_id_of_the_old_config() -> None:
    pair = connected(server_cids=issuer(0), is_handshaken=False)
    pair.client_sends()
    pair.server.rotate_cids(issuer(1))
    pair.exchange()
    assert {cid[0] >> 5 for cid in pair.server.host_cids} == {1}


def test_rotation_refuses_connection_ids_of_another_length() -> None:
    pair = connected(server_cids=issuer())
    with pytest.raises(ValueError, match="connection IDs are 8 bytes, configured are 17"):
        pair.server.rotate_cids(RandomCids(8, seeded(3)))


# Stateless reset


def test_a_stateless_reset_made_from_the_static_key_ends_the_client_at_once() -> None:
    cids = issuer()
    pair = connected(server_cids=cids)
    used = pair.server.host_cids[0]
    reset = stateless_reset(100, cids.reset_token(used), seeded(5))
    assert reset is not None
    pair.client.receive_datagram(reset, SERVER_ADDRESS, pair.now)
    pair.client.receive_datagram(reset, SERVER_ADDRESS, pair.now)
    pair.collect()
    assert of(PeerClosed, pair.client_events) == [PeerClosed(0, "stateless reset", is_stateless_reset=True)]
    assert terminated(pair.client_events) == (0, "stateless reset")
    assert pair.client.get_timer() is None


def test_a_reset_with_the_token_of_an_unused_connection_id_is_ignored() -> None:
    cids = issuer()
    pair = connected(server_cids=cids)
    reset = stateless_reset(100, cids.reset_token(pair.server.host_cids[1]), seeded(5))
    assert reset is not None
    pair.client.receive_datagram(reset, SERVER_ADDRESS, pair.now)
    pair.collect()
    assert not of(PeerClosed, pair.client_events)


# Transport parameters


def test_a_client_obeys_disable_active_migration() -> None:
    cids = UnroutableIssuer(17, b"r" * 32, seeded(4), active_limit=4)
    pair = connected(server_cids=cids)
    assert not pair.client.can_migrate
    assert not pair.client.begin_migration(pair.now)


def test_without_disable_active_migration_the_client_can_migrate() -> None:
    assert connected().client.can_migrate


def test_an_unroutable_server_issues_exactly_one_connection_id() -> None:
    assert len(connected(server_cids=UnroutableIssuer(17, b"r" * 32, seeded(4))).server.host_cids) == 1


def test_streams_of_each_type_up_to_the_option_may_be_opened() -> None:
    pair = connected(options=ConnectionOptions(max_streams=200))
    pair.client.send_stream_data(4 * 199 + 2, b"the 200th")
    pair.exchange()
    assert of(StreamDataReceived, pair.server_events)[-1].data == b"the 200th"


# NEW_TOKEN


def test_a_new_token_reaches_the_client_even_if_its_packet_is_lost() -> None:
    tokens: list[bytes] = []
    pair = connected()
    pair.client._token_handler = tokens.append
    pair.server.send_new_token(b"next time")
    assert pair.server.datagrams_to_send(pair.now)  # lost
    for _ in range(40):
        pair.now += 0.02
        pair.fire_timers()
        pair.exchange(1)
    assert tokens == [b"next time"]


# Acknowledgements


def test_a_frame_alone_is_acknowledged_after_the_ack_delay() -> None:
    pair = connected()
    pair.exchange(20)
    pair.client.send_stream_data(0, b"frame")
    pair.client_sends()
    assert pair.server.datagrams_to_send(pair.now) == []
    timer_at = pair.server.get_timer()
    assert timer_at is not None
    assert pair.now + 0.050 - 1e-9 <= timer_at <= pair.now + 0.060
    assert len(pair.server.datagrams_to_send(pair.now + 0.060)) == 1


def test_a_gap_is_acknowledged_at_once() -> None:
    pair = connected()
    pair.exchange(20)
    pair.client.send_stream_data(0, b"lost")
    pair.client.datagrams_to_send(pair.now)
    pair.client.send_stream_data(0, b"arrives")
    pair.client_sends()
    assert len(pair.server.datagrams_to_send(pair.now)) == 1


def test_nothing_is_built_when_there_is_nothing_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = connected()
    pair.exchange(20)

    def unexpected(*args: object, **kwargs: object) -> None:
        raise AssertionError("a packet builder was made")

    monkeypatch.setattr("aioquic.quic.connection.QuicPacketBuilder", unexpected)
    assert pair.client.datagrams_to_send(pair.now) == []
    assert pair.server.datagrams_to_send(pair.now) == []
    timer_at = pair.server.get_timer()
    assert timer_at is not None
    assert timer_at > pair.now


# Flow control


def test_limits_follow_what_was_delivered_so_that_a_long_stream_flows() -> None:
    pair = connected(server={"max_data": 50_000, "max_stream_data": 20_000})
    pair.client.send_stream_data(0, bytes(300_000), end_stream=True)
    pair.exchange(200)
    received = of(StreamDataReceived, pair.server_events)
    assert sum(len(event.data) for event in received) == 300_000
    assert received[-1].end_stream


def test_many_short_streams_flow_under_the_connection_limit() -> None:
    pair = connected(server={"max_data": 20_000, "max_stream_data": 20_000})
    for number in range(30):
        pair.client.send_stream_data(4 * number + 2, bytes(5_000), end_stream=True)
    pair.exchange(100)
    assert sum(len(event.data) for event in of(StreamDataReceived, pair.server_events)) == 150_000


def test_a_reset_stream_gives_its_share_of_the_connection_limit_back() -> None:
    pair = connected(server={"max_data": 20_000, "max_stream_data": 20_000})
    for number in range(8):
        stream_id = 4 * number + 2
        pair.client.send_stream_data(stream_id, bytes(9_000))
        pair.exchange(2)
        pair.client.reset_stream(stream_id, 1)
        pair.exchange(2)
    pair.client.send_stream_data(102, b"room again", end_stream=True)
    pair.exchange(4)
    assert of(StreamDataReceived, pair.server_events)[-1].data == b"room again"


def test_what_the_application_has_not_read_is_held_back_from_connection_flow_control() -> None:
    """RFC 9000 section 4.1: a receiver advertises what it is ready to buffer."""
    pair = connected(server={"max_data": 20_000, "max_stream_data": 20_000})
    pair.server.unread_bytes = 20_000
    for number in range(8):
        pair.client.send_stream_data(4 * number + 2, bytes(5_000), end_stream=True)
    pair.exchange(50)
    assert sum(len(event.data) for event in of(StreamDataReceived, pair.server_events)) == 20_000
    pair.server.unread_bytes = 0
    pair.exchange(50)
    assert sum(len(event.data) for event in of(StreamDataReceived, pair.server_events)) == 40_000


# Datagrams


def test_a_datagram_too_large_for_the_peer_is_dropped_and_does_not_block_the_next() -> None:
    pair = connected()
    assert not pair.client.offer_datagram(bytes(pair.client.max_datagram_bytes + 1))
    assert pair.client.offer_datagram(bytes(pair.client.max_datagram_bytes))
    assert pair.client.offer_datagram(b"small")
    pair.exchange()
    sizes = [len(event.data) for event in pair.server_events if isinstance(event, DatagramFrameReceived)]
    assert sizes == [pair.client.max_datagram_bytes, 5]
    assert pair.client.datagrams_dropped == 1


def test_a_peer_that_takes_no_datagrams_is_sent_none() -> None:
    pair = connected(server={"max_datagram_frame_size": None})
    assert not pair.client.offer_datagram(b"x")


def test_the_oldest_datagrams_go_when_the_queue_is_full() -> None:
    pair = connected(options=ConnectionOptions(max_queued_datagrams=2))
    for number in range(4):
        pair.client.offer_datagram(bytes((number,)))
    pair.exchange()
    data = [event.data for event in pair.server_events if isinstance(event, DatagramFrameReceived)]
    assert data == [b"\2", b"\3"]


# Closing


def test_a_close_is_reported_at_once_and_terminates_after_draining() -> None:
    pair = connected()
    pair.client.close(error_code=0x107, reason_phrase="enough")
    pair.client_sends()
    assert of(PeerClosed, pair.server_events) == [PeerClosed(0x107, "enough")]
    assert not of(ConnectionTerminated, pair.server_events)
    pair.now += 5.0
    pair.fire_timers()
    assert terminated(pair.server_events) == (0x107, "enough")


def test_a_reason_too_long_for_a_packet_is_cut() -> None:
    pair = connected()
    pair.client.close(error_code=1, reason_phrase="x" * 5000)
    pair.client_sends()
    assert of(PeerClosed, pair.server_events) == [PeerClosed(1, "x" * 200)]


def test_a_timer_that_fires_after_the_end_does_nothing() -> None:
    pair = connected()
    pair.client.handle_timer(pair.now + 1000.0)
    pair.client.handle_timer(pair.now + 2000.0)
    pair.collect()
    assert len(of(ConnectionTerminated, pair.client_events)) == 1


def test_the_handshake_survives_a_connection_id_source_of_twenty_bytes() -> None:
    pair = connected(server_cids=RandomCids(20, seeded(6)))
    assert of(HandshakeCompleted, pair.server_events)


def test_a_loss_is_found_at_its_deadline_and_not_looked_for_in_a_loop() -> None:
    pair = connected()
    for round_trip in range(60):
        pair.one_way_s = 0.0213 + 0.0007 * round_trip
        pair.client.send_stream_data(0, b"lost")
        pair.client.datagrams_to_send(pair.now)
        pair.now += 0.0011
        pair.client.send_stream_data(0, b"arrives")
        pair.client_sends()
        pair.now = max(pair.now, pair.server.get_timer() or 0.0)
        pair.fire_timers()
        pair.server_sends()
        due_at = pair.client.get_timer()
        assert due_at is not None
        pair.now = max(pair.now, due_at)
        pair.client.handle_timer(due_at)
        following = pair.client.get_timer()
        assert following is None or following > due_at
        pair.exchange()

"""What one peer may make a connection keep, and do (RFC 9000 sections 13.1, 13.2.4, 18.2 and 21.9)."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from aioquic import tls
from aioquic.buffer import encode_uint_var as varint
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.stream import QuicStreamReceiver

from tests.unit.voicelink.quic.harness import SERVER_ADDRESS, Pair, connected, of, packet, packets
from voicelink.net.token_bucket import TokenBucket
from voicelink.quic import ConnectionOptions, engine
from voicelink.quic.events import DatagramFrameReceived, PingAcknowledged
from voicelink.quic.handshake.own_parameters import MAX_UDP_PAYLOAD_BYTES
from voicelink.quic.limits.recovery import MAX_ACK_ONLY_PACKETS, MAX_SENT_PACKETS
from voicelink.quic.limits.workload import (
    DATAGRAM_UNITS,
    EXTRA_BURST_S,
    EXTRA_UNITS_PER_S,
    FRAME_UNITS,
    FREE_UNITS,
    SHARED_BURST_S,
    SharedLoad,
    Workload,
)
from voicelink.quic.parts.ack_policy import ACKS_BEFORE_PING, MAX_ACK_FRAMES_PER_PACKET
from voicelink.quic.parts.connection_ids import MAX_RETIREMENTS
from voicelink.quic.parts.resumption import MAX_NEW_TOKENS

PING = b"\x01"


def give(pair: Pair, *datagrams: bytes, apart_s: float = 0.001, address: Any = None) -> None:
    """Deliver to the server without an answer."""
    for datagram in datagrams:
        pair.now += apart_s
        pair.server.receive_datagram(datagram, address or pair.client_address, pair.now)
        pair.collect()


def answers(pair: Pair) -> list[bytes]:
    return [datagram for datagram, _ in pair.server.datagrams_to_send(pair.now)]


def close(pair: Pair) -> tuple[int, str] | None:
    event = pair.server._close_event
    return None if event is None else (event.error_code, event.reason_phrase)


def ack(largest: int, first_range: int = 0, *ranges: tuple[int, int]) -> bytes:
    more = b"".join(varint(gap) + varint(length) for gap, length in ranges)
    return b"\x02" + varint(largest) + varint(0) + varint(len(ranges)) + varint(first_range) + more


def settled(**more: Any) -> Pair:
    """A pair with its handshake confirmed and nothing left to say."""
    pair = connected(**more)
    pair.exchange(12)
    return pair


# Enumerations: a part of another aioquic that is not listed here has no limit yet


def test_each_frame_that_aioquic_handles_has_a_cost() -> None:
    connected()
    assert engine._frame_handlers.keys() == FRAME_UNITS.keys()
    assert min(FRAME_UNITS.values()) >= 1


def test_no_receiver_of_aioquic_takes_what_a_peer_sends() -> None:
    pair = settled()
    for stream_id in (0, 2):
        pair.client.send_stream_data(stream_id, b"x")
    pair.server.send_stream_data(1, b"x")
    pair.exchange()
    for connection in (pair.client, pair.server):
        streams = [*connection._streams.values(), *connection._crypto_streams.values()]
        assert len(streams) >= 5
        taken = [stream.receiver for stream in streams if isinstance(stream.receiver, QuicStreamReceiver)]
        assert all(each.is_finished for each in taken)  # those of streams that this side alone sends on


CONTAINERS = (list, dict, set, deque, bytearray, RangeSet)
BOUNDS: dict[str, dict[str, str]] = {
    "connection": {
        "_cryptos": "one for each encryption level",
        "_cryptos_initial": "one for each version",
        "_crypto_buffers": "one for each encryption level",
        "_crypto_streams": "one for each encryption level; CryptoReceiver",
        "_datagrams_pending": "max_queued_datagrams",
        "_events": "those of one datagram, whose size is limited",
        "waiting_events": "the same",
        "_host_cids": "active_connection_id_limit; replaced at RETIREMENTS_PER_S",
        "_network_paths": "aioquic's MAX_NETWORK_PATHS",
        "_peer_cid_available": "active_connection_id_limit",
        "_peer_cid_sequence_numbers": "_REMEMBERED_PEER_CIDS",
        "_ping_pending": "this side asks",
        "_retire_connection_ids": "aioquic's 4 times active_connection_id_limit",
        "_spaces": "one for each encryption level",
        "_streams": "max_streams of each type",
        "stream_sinks": "max_streams of each type",
        "_streams_blocked_bidi": "this side opens",
        "_streams_blocked_uni": "this side opens",
        "_streams_queue": "max_streams of each type",
    },
    "connection IDs": {"active": "active_connection_id_limit; replaced at RETIREMENTS_PER_S"},
    "resumption": {"new_tokens": "MAX_NEW_TOKENS"},
    "reassembly": {"resets": "those of one datagram, whose size is limited"},
    "path": {
        "local_challenges": "aioquic's MAX_LOCAL_CHALLENGES",
        "remote_challenges": "aioquic's MAX_REMOTE_CHALLENGES",
    },
    "space": {"ack_queue": "aioquic's MAX_ACK_RANGES", "sent_packets": "MAX_SENT_PACKETS"},
    "frame table": {"_handlers": "constant, and shared by all connections"},
    "received": {},
    "recovery": {
        "_ack_only": "MAX_ACK_ONLY_PACKETS",
        "largest_sent": "one for each encryption level",
        "spaces": "one for each encryption level",
    },
    "receiver": {"_pieces": "ReassemblyBudget.max_chunks", "_starts": "ReassemblyBudget.max_chunks"},
    "crypto receiver": {"_data": "its window", "_has": "its window"},
    "sender": {
        "_acked": "what this side sends",
        "_buffer": "what this side sends",
        "_pending": "what this side sends",
    },
}


@pytest.mark.parametrize("part", BOUNDS)
def test_each_container_of_a_connection_has_a_known_bound(part: str) -> None:
    pair = settled()
    pair.client.send_stream_data(0, b"x")
    pair.exchange()
    server = pair.server
    parts: dict[str, Any] = {
        "connection": server,
        "connection IDs": server._ids,
        "resumption": server._resumption,
        "reassembly": server._windows.budget,
        "path": server._network_paths[0],
        "space": server._spaces[tls.Epoch.ONE_RTT],
        "frame table": vars(server)["_QuicConnection__frame_handlers"],
        "received": server._spaces[tls.Epoch.ONE_RTT].received_packets,
        "recovery": server._loss,
        "receiver": server._streams[0].receiver,
        "crypto receiver": server._crypto_streams[tls.Epoch.ONE_RTT].receiver,
        "sender": server._streams[0].sender,
    }
    found = {name for name, value in state_of(parts[part]).items() if isinstance(value, CONTAINERS)}
    assert found == set(BOUNDS[part])


def state_of(part: Any) -> dict[str, Any]:
    return {name: getattr(part, name) for name in getattr(type(part), "__slots__", None) or vars(part)}


def test_the_parts_of_ours_without_a_container_are_known() -> None:
    pair = settled()
    values = [*vars(pair.server).values(), *state_of(pair.server._fast_path).values()]
    ours = {type(value).__name__: value for value in values if is_of_ours(value) and value is not pair.server}
    bare = {name for name, part in ours.items() if not any(isinstance(v, CONTAINERS) for v in state_of(part).values())}
    assert set(ours) - bare == {"BoundedRecovery", "ConnectionIds", "FrameTable", "Resumption", "RetryingContext"}
    assert bare == {
        "AckPolicy",
        "AckRequest",
        "ConnectionOptions",
        "FastPath",
        "FastReceiver",
        "FastSender",
        "MinimumWindow",
        "Parts",
        "Paths",
        "ReceiveWindows",
        "ReceivedAcks",
        "ResetStreamAt",
        "SteadyState",
        "Workload",
    }


def is_of_ours(value: Any) -> bool:
    return type(value).__module__.startswith("voicelink") and not isinstance(value, dict)


def test_no_other_part_of_a_connection_holds_what_a_peer_sends() -> None:
    """The parts above are all there are, beside TLS and what does not grow."""
    pair = settled()
    parts = {
        type(value).__name__ for value in vars(pair.server).values() if type(value).__module__.startswith("aioquic")
    }
    assert parts == {
        "Limit",
        "QuicConfiguration",
        "QuicConnectionId",
        "QuicConnectionState",
        "QuicVersionInformation",
    }


# Acknowledgements


def unacknowledging(pair: Pair, count: int) -> None:
    """Send PINGs of which each is acknowledged at once, and acknowledge nothing."""
    for _ in range(count):
        pair.client._packet_number += 1  # a new gap is reported at once
        give(pair, packet(pair.client, PING + bytes(3)))
        answers(pair)


def test_packets_that_only_acknowledge_are_forgotten() -> None:
    pair = settled()
    unacknowledging(pair, 400)
    records = pair.server._spaces[tls.Epoch.ONE_RTT].sent_packets.values()
    assert sum(not each.is_ack_eliciting for each in records) == MAX_ACK_ONLY_PACKETS


def test_the_handshakes_packets_that_only_acknowledge_are_forgotten_too() -> None:
    pair = connected(is_handshaken=False)
    pair.client_sends()
    pair.server_sends()
    for _ in range(100):
        give(pair, packet(pair.client, PING + bytes(3), tls.Epoch.HANDSHAKE))
        answers(pair)
    records = pair.server._spaces[tls.Epoch.HANDSHAKE].sent_packets.values()
    assert sum(not each.is_ack_eliciting for each in records) <= MAX_ACK_ONLY_PACKETS


def test_a_peer_is_asked_for_an_acknowledgement_now_and_then() -> None:
    """RFC 9000 section 13.2.4."""
    pair = settled()
    space = pair.server._spaces[tls.Epoch.ONE_RTT]
    for _ in range(ACKS_BEFORE_PING * 4):
        space.ack_queue = RangeSet([range(space.largest_received_packet + 1)])  # without gaps aioquic never asks
        give(pair, packet(pair.client, PING + bytes(3)), apart_s=0.03)
        answers(pair)
        pair.now += 0.07
        answers(pair)
    assert 3 <= space.ack_eliciting_in_flight <= 5


def test_two_sides_that_only_acknowledge_fall_silent() -> None:
    pair = settled()
    pair.client.send_stream_data(0, b"x")
    pair.exchange(20)
    assert pair.client.datagrams_to_send(pair.now) == pair.server.datagrams_to_send(pair.now) == []


def test_packets_on_record_are_capped_where_nothing_is_acknowledged() -> None:
    """Answers to PATH_CHALLENGE on another path pass the congestion window."""
    pair = settled(options=ConnectionOptions(max_packets_per_s=1_000_000))
    for number in range(MAX_SENT_PACKETS + 200):
        challenge = b"\x1a" + number.to_bytes(8, "big")
        give(pair, packet(pair.client, challenge), apart_s=0.0001, address=("203.0.113.9", 4000))
        answers(pair)
    assert len(pair.server._spaces[tls.Epoch.ONE_RTT].sent_packets) <= MAX_SENT_PACKETS
    assert close(pair) is None


@pytest.mark.parametrize("epoch", [tls.Epoch.INITIAL, tls.Epoch.HANDSHAKE, tls.Epoch.ONE_RTT])
def test_an_ack_of_a_packet_never_sent_is_a_protocol_violation(epoch: tls.Epoch) -> None:
    """RFC 9000 section 13.1."""
    pair = settled() if epoch is tls.Epoch.ONE_RTT else connected(is_handshaken=False)
    if epoch is not tls.Epoch.ONE_RTT:
        pair.client_sends()
        pair.server_sends()
    never = pair.server._loss.largest_sent[epoch] + 1
    give(pair, packet(pair.client, ack(never - 1), epoch))
    assert close(pair) is None
    give(pair, packet(pair.client, ack(never), epoch))
    assert close(pair) == (QuicErrorCode.PROTOCOL_VIOLATION, f"packet {never} was acknowledged, but never sent")


def test_more_ack_frames_than_a_packet_needs_are_a_protocol_violation() -> None:
    pair = settled()
    give(pair, packet(pair.client, ack(0) * MAX_ACK_FRAMES_PER_PACKET), packet(pair.client, ack(0)))
    assert close(pair) is None
    give(pair, packet(pair.client, ack(0) * 220))
    assert close(pair) == (QuicErrorCode.PROTOCOL_VIOLATION, "more than 8 ACK frames in a packet")


def test_an_ack_that_says_nothing_new_copies_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = settled()
    unacknowledging(pair, 100)
    visited: list[int] = []
    monkeypatch.setattr("aioquic.quic.recovery.bisect_left", lambda numbers, number: visited.append(number) or 0)
    give(pair, packet(pair.client, ack(3, 1)))
    assert not visited


def test_the_ranges_of_an_ack_are_work() -> None:
    pair = settled()
    largest = pair.server._loss.largest_sent[tls.Epoch.ONE_RTT]
    give(pair, packet(pair.client, ack(largest, 0, (0, 0))))
    assert pair.server.workload.units >= FRAME_UNITS[2] + 1


def test_a_pings_answer_is_still_reported() -> None:
    pair = settled()
    pair.server.send_ping(7)
    pair.exchange()
    assert of(PingAcknowledged, pair.server_events)[-1].uid == 7


# Work


def test_a_token_bucket_repays_its_debt() -> None:
    bucket = TokenBucket(per_s=10, burst=5)
    assert bucket.take(5, 0.0)
    assert not bucket.take(1, 0.0)
    bucket.charge(20)
    assert bucket.level(1.0) == -10
    assert bucket.level(2.6) == pytest.approx(5)
    assert bucket.level(0.5) == pytest.approx(5)  # a clock that steps back gives nothing


def test_ordinary_packets_cost_nothing_extra() -> None:
    work = Workload(packets_per_s=1000, datagram_frames_per_s=10)
    for turn in range(5000):
        assert work.admits_packet(turn * 0.001)
        work.units += FREE_UNITS - DATAGRAM_UNITS


def test_work_beyond_the_burst_drops_packets_until_it_is_repaid() -> None:
    work = Workload(packets_per_s=1000, datagram_frames_per_s=10)
    assert work.admits_packet(1.0)
    work.units += FREE_UNITS - DATAGRAM_UNITS + round((EXTRA_BURST_S + 1) * EXTRA_UNITS_PER_S)
    assert not work.admits_packet(1.0)
    assert not work.admits_packet(1.5)
    assert work.admits_packet(2.1)


TINY = {
    "ping": PING,
    "padding between": b"\0\x01",
    "max_data": b"\x10\x01",
    "stream": b"\x0a\x02\x01x",
    "empty stream": b"\x0a\x02\x00",
    "stop_sending": b"\x05\x00\x00",
    "max_stream_data": b"\x11\x00\x01",
    "path_response": b"\x1b12345678",
    "datagram": b"\x31\x02\x00x",
}


@pytest.mark.parametrize("frame", TINY.values(), ids=TINY)
def test_packets_full_of_tiny_frames_are_dropped_after_the_burst(frame: bytes) -> None:
    pair = settled()
    datagrams = list(packets(pair.client, [frame] * (100 * 1300 // len(frame))))
    give(pair, *datagrams, apart_s=0.0001)
    assert pair.server.packets_ignored > len(datagrams) // 2
    assert close(pair) is None
    give(pair, packet(pair.client, PING + bytes(3)), apart_s=5.0)
    before = pair.server.packets_ignored
    give(pair, packet(pair.client, PING + bytes(3)), apart_s=5.0)
    assert pair.server.packets_ignored == before


def test_covering_many_pieces_again_and_again_is_work() -> None:
    pair = settled()
    give(pair, *packets(pair.client, (b"\x0e\x02" + varint(2 * n + 2) + b"\x01x" for n in range(600))), apart_s=1.0)
    pair.now += 5.0
    cover = b"\x0e\x02" + varint(2) + varint(1200) + bytes(1200)
    give(pair, packet(pair.client, cover), packet(pair.client, cover))
    before = pair.server.packets_ignored
    give(pair, *(packet(pair.client, cover) for _ in range(100)), apart_s=0.0001)
    assert pair.server.packets_ignored - before > 50


def test_more_packets_than_the_rate_are_dropped_unread() -> None:
    pair = settled(options=ConnectionOptions(max_packets_per_s=100))
    datagrams = [packet(pair.client, PING + bytes(3)) for _ in range(300)]
    give(pair, *datagrams, apart_s=0.0001)
    assert 190 <= pair.server.packets_ignored <= 210


def test_a_client_reads_as_fast_as_its_server_sends() -> None:
    pair = settled(options=ConnectionOptions(max_packets_per_s=10))
    for _ in range(100):
        pair.server.send_stream_data(1, bytes(500))
        pair.server_sends()
    assert pair.client.packets_ignored == 0


def test_datagram_frames_beyond_their_rate_never_reach_the_application() -> None:
    pair = settled(options=ConnectionOptions(max_datagram_frames_per_s=20))
    give(pair, *packets(pair.client, [b"\x31\x05\x00abcd"] * 50))
    assert len(of(DatagramFrameReceived, pair.server_events)) == 20
    assert pair.server.workload.datagram_frames_ignored == 30
    give(pair, packet(pair.client, b"\x31\x05\x00abcd"), apart_s=1.0)
    assert len(of(DatagramFrameReceived, pair.server_events)) == 21


def test_a_udp_payload_beyond_the_advertised_size_is_dropped_unread() -> None:
    """RFC 9000 section 18.2, max_udp_payload_size."""
    pair = settled()
    parameters = pair.server._serialize_transport_parameters()
    assert b"\x03\x02" + varint(MAX_UDP_PAYLOAD_BYTES) in parameters
    give(pair, bytes((0x40,)) + pair.server.host_cids[0] + bytes(MAX_UDP_PAYLOAD_BYTES))
    assert pair.server.packets_ignored == 1


# Connection IDs and tokens


def new_connection_id(number: int, retire_prior_to: int = 0) -> bytes:
    return b"\x18" + varint(number) + varint(retire_prior_to) + b"\x08" + number.to_bytes(8, "big") + bytes(16)


def test_numbers_of_connection_ids_that_were_used_up_are_forgotten() -> None:
    pair = settled()
    following = max(pair.server._peer_cid_sequence_numbers) + 1
    used = [each.cid for each in pair.client._peer_cid_available][:2]
    for turn in range(400):
        pair.client._peer_cid.cid = used[turn % 2]  # the server answers with a fresh one of the client's
        give(pair, packet(pair.client, PING + bytes(3)))
        answers(pair)
        give(pair, packet(pair.client, new_connection_id(following + turn)))
        pair.server._loss._cc.bytes_in_flight = 0
    assert close(pair) is None
    assert len(pair.server._peer_cid_sequence_numbers) <= 64
    assert pair.server._peer_cid_available


def test_retiring_every_connection_id_without_a_new_one_closes() -> None:
    pair = settled()
    numbers = pair.server._peer_cid_sequence_numbers
    numbers.add(50)  # known, and used up
    pair.server._peer_cid_available.clear()
    give(pair, packet(pair.client, new_connection_id(50, 50)))
    assert close(pair) == (
        QuicErrorCode.PROTOCOL_VIOLATION,
        "every connection ID was retired and none given in their place",
    )


def test_a_peer_that_retires_connection_ids_without_end_is_closed() -> None:
    pair = settled()
    for _ in range(MAX_RETIREMENTS + 1):
        current = pair.client._peer_cid.cid
        spare = next(each for each in pair.server._host_cids if each.cid != current)
        give(pair, packet(pair.client, b"\x19" + varint(spare.sequence_number) + bytes(3)))
        pair.server._loss._cc.bytes_in_flight = 0
        answers(pair)
    assert close(pair) == (QuicErrorCode.PROTOCOL_VIOLATION, "more than 32 connection IDs retired")


def test_tokens_that_cannot_be_sent_do_not_pile_up() -> None:
    pair = settled()
    for number in range(20):
        pair.server.send_new_token(bytes((number,)))
    assert pair.server._resumption.new_tokens == [bytes((number,)) for number in range(20 - MAX_NEW_TOKENS, 20)]


def test_stateless_resets_are_read_at_any_load() -> None:
    pair = settled()
    token = pair.client._peer_cid.stateless_reset_token
    pair.client.workload.units = 10**9
    pair.client.receive_datagram(b"\x40" + bytes(40) + token, SERVER_ADDRESS, pair.now)
    assert pair.client.is_ended


def test_many_connections_each_within_its_limits_leave_others_their_packets() -> None:
    """RFC 9000 section 21.9: twenty connections of 1,450 packets a second would take three cores."""
    shared = SharedLoad()
    greedy = [Workload(1500, 500, shared, busy_packets_per_s=200) for _ in range(20)]
    call = Workload(1500, 500, shared, busy_packets_per_s=200)
    of_greedy, of_call = 0, 0
    for step in range(10 * 1450):
        now = step / 1450
        for each in greedy:
            of_greedy += each.admits_packet(now)
            each.units += 10
        if step % 10 == 0:  # 145 a second
            of_call += call.admits_packet(now)
    assert of_call == 1450
    assert of_greedy <= 20 * 200 * 11  # a burst of a second's, and 10 s


def test_an_endpoint_is_busy_no_longer_than_its_burst_after_a_flood() -> None:
    shared = SharedLoad()
    flood = [Workload(1500, 500, shared, busy_packets_per_s=200) for _ in range(50)]
    for step in range(1450):
        for each in flood:
            each.admits_packet(step / 1450)
    upload = Workload(1500, 500, shared, busy_packets_per_s=200)
    began = 1 + 2 * SHARED_BURST_S
    assert sum(upload.admits_packet(began + step / 1400) for step in range(1400)) == 1400


def test_one_connection_at_its_limit_makes_no_endpoint_busy() -> None:
    shared = SharedLoad()
    upload = Workload(1500, 500, shared, busy_packets_per_s=200)
    for step in range(14_000):
        assert upload.admits_packet(step / 1400)
        upload.units += 100

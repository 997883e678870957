"""When packets are acknowledged, and what each side asks of the other in that (RFC 9000 13.2, QUIC ACK frequency)."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pytest
from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.buffer import encode_uint_var as varint
from aioquic.quic.connection import QuicConnectionError
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.recovery import QuicPacketSpace

from tests.unit.voicelink.quic.harness import Pair, connected, of, packet
from voicelink.quic import ConnectionOptions
from voicelink.quic.events import PingAcknowledged, StreamDataReceived
from voicelink.quic.handshake.transport_parameters import (
    MAX_ACK_DELAY,
    pull_transport_parameters,
)
from voicelink.quic.parts.ack_policy import (
    ACK_FREQUENCY,
    ACK_TIMER_SLACK_S,
    IMMEDIATE_ACK,
    MIN_ACK_DELAY,
    AckFrequency,
    AckPolicy,
    AckRequest,
)

DELAY_S = 0.060
PING = b"\x01"
ONE_RTT = tls.Epoch.ONE_RTT


class Receiver:
    """The receive half of the 1-RTT space, as aioquic keeps it, under a policy."""

    def __init__(self, frequency: AckFrequency | None = None) -> None:
        self.space = QuicPacketSpace(is_application_data=True)
        self.policy = AckPolicy(frequency or AckFrequency(3, DELAY_S))
        self.now = 100.0

    def take(self, number: int, *, is_ack_eliciting: bool = True, after_s: float = 0.0) -> bool:
        """Receive a packet and return whether an ACK is due now, which is then sent."""
        self.now += after_s
        space = self.space
        former_largest, due_at, space.ack_at = space.largest_received_packet, space.ack_at, None
        space.largest_received_packet = max(former_largest, number)
        space.ack_queue.add(number)
        if is_ack_eliciting:
            space.ack_at = self.now + 0.001
        self.policy.on_datagram_received(space, former_largest, due_at, self.now)
        if space.ack_at is None or space.ack_at > self.now:
            return False
        space.ack_at = None
        return True

    def ask(self, sequence: int, threshold: int, delay_us: int, reordering: int) -> None:
        body = b"".join(varint(value) for value in (sequence, threshold, delay_us, reordering))
        self.policy.on_frequency_frame(Buffer(data=body), ACK_FREQUENCY)


# Receiving


def test_an_ack_is_due_with_the_last_of_so_many_packets() -> None:
    receiver = Receiver()
    assert [receiver.take(number, after_s=0.001) for number in range(7)] == [
        False,
        False,
        True,
        False,
        False,
        True,
        False,
    ]


def test_an_ack_is_due_after_the_delay_from_the_first_packet_on() -> None:
    receiver = Receiver()
    receiver.take(0)
    receiver.take(1, after_s=0.02)
    assert receiver.space.ack_at == pytest.approx(100.0 + DELAY_S)


def test_acks_of_connections_that_are_due_at_nearly_the_same_time_are_due_together() -> None:
    deadlines = []
    for after_s in (0.001, 0.004, 0.009):
        receiver = Receiver()
        receiver.take(0, after_s=after_s)
        assert receiver.space.ack_at is not None
        assert DELAY_S - 0.010 <= receiver.space.ack_at - receiver.now <= DELAY_S
        deadlines.append(receiver.space.ack_at)
    assert len(set(deadlines)) == 1


def test_a_short_delay_is_kept_exactly() -> None:
    receiver = Receiver(AckFrequency(3, 0.025))
    receiver.take(0, after_s=0.004)
    assert receiver.space.ack_at == pytest.approx(receiver.now + 0.025)


@pytest.mark.parametrize(("due_in_s", "is_held_by_pacing"), [(-0.01, False), (0.0, False), (0.01, True)])
def test_pacing_holds_back_an_ack_that_rides_along_and_none_that_is_due(
    due_in_s: float, is_held_by_pacing: bool
) -> None:
    receiver = Receiver()
    receiver.space.ack_at = receiver.now + due_in_s
    AckPolicy.on_sending(receiver.space, receiver.now)
    assert (receiver.space.ack_at >= receiver.now) is is_held_by_pacing  # as aioquic decides


def test_packets_that_need_no_ack_neither_ask_for_one_nor_count() -> None:
    receiver = Receiver()
    receiver.take(0)
    for number in range(1, 9):
        assert not receiver.take(number, is_ack_eliciting=False, after_s=0.001)
    assert receiver.space.ack_at == pytest.approx(100.0 + DELAY_S)
    assert not receiver.take(9)
    assert receiver.take(10)


def test_a_new_gap_is_reported_at_once_and_an_old_one_is_no_reason() -> None:
    receiver = Receiver()
    assert not receiver.take(0)
    assert receiver.take(2)
    assert [number for number in range(3, 9) if receiver.take(number)] == [5, 8]
    assert receiver.take(10)


def test_a_gap_before_a_packet_that_needs_no_ack_is_reported_with_the_next_that_does() -> None:
    receiver = Receiver()
    receiver.take(0)
    assert not receiver.take(2, is_ack_eliciting=False)
    assert receiver.take(3)


def test_a_packet_behind_a_newer_one_is_acknowledged_at_once() -> None:
    receiver = Receiver()
    receiver.take(0)
    assert receiver.take(2)
    assert receiver.take(1)
    assert not receiver.take(3)


def test_a_peer_changes_the_frequency_and_an_older_wish_is_ignored() -> None:
    receiver = Receiver()
    receiver.ask(4, 1, 30_000, 1)
    assert receiver.policy.frequency == AckFrequency(2, 0.025)
    receiver.ask(3, 0, 1_000, 0)
    assert receiver.policy.frequency == AckFrequency(2, 0.025)
    assert [receiver.take(number) for number in range(4)] == [False, True, False, True]
    receiver.ask(5, 0, 30_000, 1)
    assert [receiver.take(number) for number in range(4, 6)] == [True, True]


def test_a_shorter_delay_holds_for_the_ack_that_is_waiting() -> None:
    receiver = Receiver()
    receiver.ask(0, 1_000, 16_000_000, 0)
    receiver.take(0)
    receiver.ask(1, 1_000, 25_000, 0)
    receiver.take(1, after_s=1.0)
    assert receiver.space.ack_at == pytest.approx(101.02)


@pytest.mark.parametrize("delay_us", [999, 16_384_000])
def test_a_requested_delay_out_of_bounds_is_a_protocol_violation(delay_us: int) -> None:
    with pytest.raises(QuicConnectionError) as caught:
        Receiver().ask(0, 1, delay_us, 1)
    assert caught.value.error_code == QuicErrorCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    ("reordering", "numbers", "acknowledged"),
    [
        (0, [0, 2, 1, 9, 20], []),
        (3, [0, 1, 3, 4, 5, 8, 9, 10], [5, 9, 10]),
        (5, [0, 1, 3, 5, 6, 7, 8, 9], [7, 9]),
    ],
)
def test_a_reordering_threshold_follows_the_examples_of_the_draft(
    reordering: int, numbers: list[int], acknowledged: list[int]
) -> None:
    receiver = Receiver()
    receiver.ask(0, 1_000, 60_000, reordering)
    assert [number for number in numbers if receiver.take(number)] == acknowledged


# Both sides


def settled(**more: Any) -> Pair:
    pair = connected(**more)
    pair.exchange(12)
    return pair


def test_the_advertised_max_ack_delay_leaves_room_for_a_late_timer() -> None:
    pair = connected(options=ConnectionOptions(ack_delay_s=0.08))
    for connection in (pair.client, pair.server):
        sent = pull_transport_parameters(connection._serialize_transport_parameters())
        assert Buffer(data=sent[MAX_ACK_DELAY]).pull_uint_var() == 85
        assert connection._loss.max_ack_delay == pytest.approx(0.08 + ACK_TIMER_SLACK_S)


def test_each_side_asks_the_other_for_its_own_frequency() -> None:
    pair = settled(options=ConnectionOptions(ack_packets=5, ack_delay_s=0.03))
    assert pair.client._acks._sequence == pair.server._acks._sequence == 1
    for connection in (pair.client, pair.server):
        asked = connection._acks.frequency
        assert asked is not None
        assert astuple(asked) == (5, pytest.approx(0.03), 1)


def test_a_lost_wish_is_sent_again() -> None:
    pair = settled()
    pair.client.ask_for_acks(of_every_packet=True)
    assert pair.client.datagrams_to_send(pair.now)  # lost
    for _ in range(40):
        pair.now += 0.02
        pair.exchange(1)
    assert pair.server._acks.frequency.packets == 1


def test_every_packet_is_acknowledged_while_the_peer_asks_for_that() -> None:
    pair = settled()

    def acks(count: int) -> int:
        sent = 0
        for _ in range(count):
            pair.client.send_stream_data(0, b"frame")
            pair.client_sends()
            sent += len(pair.server.datagrams_to_send(pair.now))
        return sent

    pair.client.ask_for_acks(of_every_packet=True)
    pair.exchange(3)
    assert acks(6) == 6
    pair.client.ask_for_acks(of_every_packet=False)
    pair.exchange(3)
    assert acks(6) < 6


def test_a_peer_without_the_extension_is_asked_for_nothing() -> None:
    request = AckRequest(AckFrequency(3, DELAY_S))
    request.on_transport_parameters({MAX_ACK_DELAY: varint(25)})
    request.ask(is_every_packet=True)
    assert not request.is_supported_by_peer
    assert not request.is_due


@pytest.mark.parametrize(("min_us", "is_refused"), [(25_000, False), (25_001, True)])
def test_a_min_ack_delay_above_the_max_is_a_transport_parameter_error(min_us: int, is_refused: bool) -> None:
    parameters = {MAX_ACK_DELAY: varint(25), MIN_ACK_DELAY: varint(min_us)}
    request = AckRequest(AckFrequency(3, DELAY_S))
    if not is_refused:
        request.on_transport_parameters(parameters)
        assert request.is_supported_by_peer
        return
    with pytest.raises(QuicConnectionError) as caught:
        request.on_transport_parameters(parameters)
    assert caught.value.error_code == QuicErrorCode.TRANSPORT_PARAMETER_ERROR


def test_a_probe_is_answered_at_once() -> None:
    pair = settled()
    pair.client.probe()
    pair.client_sends()
    assert len(pair.server.datagrams_to_send(pair.now)) == 1


def test_an_immediate_ack_frame_is_obeyed_and_allowed_in_1_rtt_packets_alone() -> None:
    pair = settled()
    pair.server.receive_datagram(packet(pair.client, bytes((IMMEDIATE_ACK,)) + bytes(3)), pair.client_address, pair.now)
    assert len(pair.server.datagrams_to_send(pair.now)) == 1
    handlers = vars(pair.server)["_QuicConnection__frame_handlers"]
    assert handlers[IMMEDIATE_ACK][1] == handlers[ACK_FREQUENCY][1] == {ONE_RTT}


def test_the_first_packet_from_another_address_is_acknowledged_at_once() -> None:
    pair = settled()
    space = pair.server._spaces[ONE_RTT]
    pair.server.receive_datagram(packet(pair.client, PING + bytes(3)), pair.client_address, pair.now)
    assert space.ack_at == pytest.approx(pair.now + DELAY_S)
    pair.server.receive_datagram(packet(pair.client, PING + bytes(3)), ("203.0.113.9", 4000), pair.now)
    assert space.ack_at == pair.now


def test_a_ping_alone_is_answered_within_the_delay() -> None:
    pair = settled()
    began_at = pair.now
    pair.client.send_ping(7)
    while not of(PingAcknowledged, pair.client_events):
        pair.exchange(1)
    assert pair.now - began_at < DELAY_S + 6 * pair.one_way_s


@pytest.mark.parametrize("has_fast_path", [True, False])
def test_data_that_flow_control_holds_back_hurries_no_ack(has_fast_path: bool) -> None:
    options = ConnectionOptions(has_fast_path=has_fast_path)
    pair = settled(client={"max_data": 3_000}, options=options)
    pair.client.unread_bytes = 3_000
    pair.server.send_stream_data(1, bytes(20_000))
    pair.exchange(10)
    acks = 0
    for _ in range(6):
        pair.client.send_stream_data(0, b"frame")
        pair.client_sends()
        acks += len(pair.server.datagrams_to_send(pair.now))
    assert acks == 2
    pair.client.unread_bytes = 0
    pair.exchange(20)
    assert sum(len(each.data) for each in of(StreamDataReceived, pair.client_events)) == 20_000

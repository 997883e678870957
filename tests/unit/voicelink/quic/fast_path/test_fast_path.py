"""When packets take the fast path, and when aioquic's way; that both do the same is tests/property/voicelink's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aioquic import tls
from aioquic._crypto import AEAD, HeaderProtection
from aioquic.buffer import encode_uint_var as varint
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode

from tests.unit.voicelink.quic.connection_state import differences, state_of
from tests.unit.voicelink.quic.harness import CLIENT_ADDRESS, SERVER_ADDRESS, Pair, connected, of, packet, seeded
from voicelink.quic import Connection, ConnectionOptions
from voicelink.quic.cid_source import RandomCids
from voicelink.quic.events import DatagramFrameReceived, PeerMoved, QuicEvent, StreamDataReceived

FRAME = bytes(80)


class Ways:
    """How many datagrams of the server aioquic received itself, and how often it was asked to build some."""

    def __init__(self, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        self.received = self.built = 0
        receive, build = QuicConnection.receive_datagram, QuicConnection.datagrams_to_send

        def receiving(connection: Connection, *arguments: Any) -> None:
            self.received += connection is pair.server
            receive(connection, *arguments)

        def building(connection: Connection, now: float) -> Any:
            self.built += connection is pair.server
            return build(connection, now)

        monkeypatch.setattr(QuicConnection, "receive_datagram", receiving)
        monkeypatch.setattr(QuicConnection, "datagrams_to_send", building)


def steady(**more: Any) -> Pair:
    """A pair in a call that goes on: streams are open in both directions, and nothing else is to be said."""
    pair = connected(**more)
    pair.client.send_stream_data(2, FRAME)
    for stream_id in (1, 3):
        pair.server.send_stream_data(stream_id, FRAME)
    pair.exchange(12)
    return pair


def talk(pair: Pair, frames: int = 50) -> None:
    for number in range(frames):
        pair.client.send_stream_data(2, FRAME)
        if number % 3 == 0:
            pair.client.offer_datagram(FRAME)
            pair.server.send_stream_data(1, FRAME)
            pair.server.offer_datagram(FRAME)
        pair.exchange(1)


def data_of(events: list[QuicEvent], stream_id: int) -> bytes:
    return b"".join(each.data for each in of(StreamDataReceived, events) if each.stream_id == stream_id)


def test_every_packet_of_a_call_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = steady()
    ways = Ways(pair, monkeypatch)
    talk(pair)
    assert (ways.received, ways.built) == (0, 0)
    assert data_of(pair.server_events, 2) == FRAME * 51
    assert data_of(pair.client_events, 1) == FRAME * 18
    assert len(of(DatagramFrameReceived, pair.server_events)) == 17
    assert len(of(DatagramFrameReceived, pair.client_events)) == 17


def test_a_stream_that_was_acknowledged_to_its_end_is_forgotten() -> None:
    pair = steady()
    pair.client.send_stream_data(4, b"both ways", end_stream=True)
    pair.exchange(4)
    limit = pair.server._local_max_streams_bidi.value
    for stream_id in (3, 4):
        pair.server.send_stream_data(stream_id, b"the end", end_stream=True)
        talk(pair, 5)
    assert not pair.server._streams.keys() & {3, 4}
    assert pair.server._local_max_streams_bidi.value == limit + 1


def test_after_a_loss_the_fast_path_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = steady()
    lost = iter([False, True, False, True])
    pair.drop = lambda sender, datagram: next(lost, False)
    talk(pair, 10)
    ways = Ways(pair, monkeypatch)
    talk(pair, 10)
    assert (ways.received, ways.built) == (0, 0)
    assert data_of(pair.server_events, 2) == FRAME * 21


def test_lost_data_is_sent_again_with_the_acknowledgement_that_tells_of_it() -> None:
    pair = steady()
    pair.now += 1.0
    for number in range(1, 6):
        pair.server.send_stream_data(1, bytes((number,)) * 80)
        assert len(pair.server.datagrams_to_send(pair.now)) == 1
        pair.now += 0.02
    newest = pair.server._loss.largest_sent[tls.Epoch.ONE_RTT]
    acknowledgement = b"\x02" + varint(newest) + varint(0) + varint(0) + varint(0)
    pair.server.receive_datagram(packet(pair.client, acknowledgement), CLIENT_ADDRESS, pair.now)
    for datagram, _ in pair.server.datagrams_to_send(pair.now):
        pair.client.receive_datagram(datagram, SERVER_ADDRESS, pair.now)
    pair.collect()
    assert b"\1" * 80 + b"\2" * 80 in data_of(pair.client_events, 1)


def test_after_a_rebinding_the_fast_path_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = steady()
    pair.client_address = (CLIENT_ADDRESS[0], 40002)
    talk(pair, 5)
    assert of(PeerMoved, pair.server_events) == [PeerMoved(pair.client_address)]
    ways = Ways(pair, monkeypatch)
    talk(pair)
    assert (ways.received, ways.built) == (0, 0)


def test_after_a_key_update_the_fast_path_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = steady()
    pair.client.request_key_update()
    talk(pair, 5)
    pair.server.request_key_update()
    talk(pair, 5)
    ways = Ways(pair, monkeypatch)
    talk(pair)
    assert (ways.received, ways.built) == (0, 0)
    assert len(of(DatagramFrameReceived, pair.server_events)) == 2 + 2 + 17


@pytest.mark.parametrize(
    "more",
    [
        {"options": ConnectionOptions(has_fast_path=False)},
        {"server": {"cipher_suites": [tls.CipherSuite.CHACHA20_POLY1305_SHA256]}},
    ],
    ids=["switched off", "ChaCha20"],
)
def test_what_the_fast_path_does_not_know_goes_aioquics_way(more: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = steady(**more)
    ways = Ways(pair, monkeypatch)
    talk(pair)
    assert ways.received >= 50
    assert ways.built >= 17


def test_a_client_without_connection_ids_still_finds_a_stateless_reset() -> None:
    pair = steady(client_cids=RandomCids(0, seeded(1)))
    assert pair.client._fast_path.receiver is None
    token = pair.client._peer_cid.stateless_reset_token
    pair.client.receive_datagram(b"\x40" + bytes(40) + token, SERVER_ADDRESS, pair.now)
    assert pair.client.is_ended


def test_a_connection_with_a_qlog_goes_aioquics_way(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = steady(qlog=lambda log: None)
    ways = Ways(pair, monkeypatch)
    talk(pair)
    assert ways.received >= 50


RARE: dict[str, Callable[[Connection], object]] = {
    "ping": lambda each: each.send_ping(1),
    "probe": lambda each: each.probe(),
    "key update": lambda each: each.request_key_update(),
    "another connection ID of the peer's": lambda each: each.change_connection_id(),
    "rotation": lambda each: each.rotate_cids(RandomCids(8, seeded(5))),
    "reset": lambda each: each.reset_stream(3, 0),
    "reset at": lambda each: each.reset_stream_at(3, 0, 1),
    "stop": lambda each: each.stop_stream(2, 0),
    "new token": lambda each: each.send_new_token(b"token"),
    "new stream": lambda each: each.send_stream_data(7, b""),
    "close": lambda each: each.close(),
    "frequency of acknowledgements": lambda each: each.ask_for_acks(of_every_packet=True),
}


@pytest.mark.parametrize("act", RARE.values(), ids=RARE)
def test_what_is_rare_ends_the_steadiness_at_once(
    act: Callable[[Connection], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = steady()
    assert pair.server._steady.holds
    act(pair.server)
    assert not pair.server._steady.holds
    ways = Ways(pair, monkeypatch)
    pair.server.send_stream_data(3 if act not in (RARE["reset"], RARE["reset at"]) else 1, FRAME)
    pair.server.datagrams_to_send(pair.now)
    assert ways.built == (act is not RARE["new stream"])


def test_reading_what_was_held_back_ends_the_steadiness_where_a_limit_rises() -> None:
    pair = steady(server={"max_data": 10_000, "max_stream_data": 100_000})
    pair.server.unread_bytes = 9_000
    for _ in range(7):
        pair.client.send_stream_data(2, bytes(1000))
        pair.exchange(2)
    assert pair.server._steady.holds
    before = pair.client._remote_max_data
    pair.server.unread_bytes = 0
    assert not pair.server._steady.holds
    pair.exchange(2)
    assert pair.client._remote_max_data > before


STRANGE = {
    "unknown type": b"\x21",
    "long form of a type": b"\x40\x01",
    "rare frame behind common ones": b"\x0a\x02\x01x" + b"\x14\x09",
    "stream frame cut short": b"\x0e\x02\x40",
    "stream ID cut short, without a length behind it": b"\x08\x80\x00",
    "stream offset cut short, without a length behind it": b"\x0c\x02\xc0\x00\x00",
    "stream data cut short": b"\x0a\x02\x09x",
    "datagram cut short": b"\x31\x05x",
    "acknowledgement of negative numbers": b"\x02\x03\x00\x00\x07",
    "two acknowledgements": b"\x02\x03\x00\x00\x00" * 2,
}


@pytest.mark.parametrize("frames", STRANGE.values(), ids=STRANGE)
def test_a_packet_with_a_strange_frame_changes_nothing_before_aioquic_has_it(
    frames: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = steady()
    receiver = pair.server._fast_path.receiver
    assert receiver is not None
    datagram = packet(pair.client, b"\x0a\x02\x01x" + frames)
    before = state_of(pair.server)
    assert receiver.is_for_path(datagram, CLIENT_ADDRESS)
    assert not receiver.take(datagram, pair.now)
    assert list(differences(before, state_of(pair.server))) == []


def test_a_stream_frame_cut_short_before_its_data_ends_the_connection() -> None:
    pair = steady()
    pair.server.receive_datagram(packet(pair.client, b"\x01\x01\x0c\x02\x80\x01"), CLIENT_ADDRESS, pair.now)
    assert pair.server._close_event is not None
    assert pair.server._close_event.error_code == QuicErrorCode.FRAME_ENCODING_ERROR


def test_data_before_an_empty_frame_is_counted_once_against_the_limits() -> None:
    pair = steady()
    used, at = pair.server._local_max_data.used, len(FRAME)
    for offset, data in ((at + 1000, b""), (at, bytes(40)), (at + 40, bytes(60))):
        frame = b"\x0e\x02" + varint(offset) + varint(len(data)) + data
        pair.server.receive_datagram(packet(pair.client, frame), CLIENT_ADDRESS, pair.now)
        pair.server.datagrams_to_send(pair.now)
        assert pair.server._local_max_data.used == used + 1000


def test_an_end_before_an_empty_frame_is_a_final_size_error() -> None:
    pair = steady()
    at = len(FRAME)
    for frame in (b"\x0e\x02" + varint(at + 1000) + b"\0", b"\x0e\x02" + varint(at) + b"\x01x"):
        pair.server.receive_datagram(packet(pair.client, frame), CLIENT_ADDRESS, pair.now)
        pair.server.datagrams_to_send(pair.now)
    end = b"\x0f\x02" + varint(at + 1) + b"\x01x"
    pair.server.receive_datagram(packet(pair.client, end), CLIENT_ADDRESS, pair.now)
    assert pair.server._close_event is not None
    assert pair.server._close_event.error_code == QuicErrorCode.FINAL_SIZE_ERROR


def test_a_released_connection_refers_to_no_part_of_its_fast_path() -> None:
    pair = steady()
    pair.server.release()
    assert pair.server._fast_path.receiver is pair.server._fast_path.sender is None


def test_the_ciphers_of_aioquic_hold_what_the_fast_path_takes_from_them() -> None:
    aead, protection = AEAD(b"aes-128-gcm", bytes(16), bytes(11) + b"\1"), HeaderProtection(b"aes-128-ecb", bytes(16))
    assert aead._iv == 1
    assert aead._aead.decrypt((1 ^ 5).to_bytes(12, "big"), aead.encrypt(b"text", b"head", 5), b"head") == b"text"
    assert protection._encryptor.update(bytes(16)) == protection._mask(bytes(16))
    assert not protection._is_chacha20

"""CRYPTO streams: any order within the window, and a close beyond it (RFC 9000 section 7.5)."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from aioquic import tls
from aioquic.buffer import encode_uint_var
from aioquic.quic.packet import QuicErrorCode, QuicStreamFrame

from tests.unit.voicelink.quic.harness import Pair, connected, of, packet, packets
from voicelink.quic.events import HandshakeCompleted
from voicelink.quic.limits.crypto_buffer import SERVER_WINDOW_BYTES, CryptoOverflowError, CryptoReceiver

EPOCHS = [tls.Epoch.INITIAL, tls.Epoch.HANDSHAKE, tls.Epoch.ONE_RTT]


def piece(offset: int, data: bytes) -> QuicStreamFrame:
    return QuicStreamFrame(data=data, fin=False, offset=offset)


def crypto(offset: int, data: bytes) -> bytes:
    return b"\x06" + encode_uint_var(offset) + encode_uint_var(len(data)) + data


def gaps(highest_offset: int, start: int = 0) -> Iterator[bytes]:
    """One byte at every second offset."""
    return (crypto(offset, b"x") for offset in range(start + 1, highest_offset, 2))


def at(epoch: tls.Epoch) -> Pair:
    """A pair whose client has the keys of an encryption level."""
    if epoch is tls.Epoch.ONE_RTT:
        return connected()
    pair = connected(is_handshaken=False)
    if epoch is tls.Epoch.HANDSHAKE:
        pair.client_sends()
        pair.server_sends()
    return pair


def close_code(pair: Pair) -> int | None:
    event = pair.server._close_event
    return None if event is None else event.error_code


@pytest.mark.parametrize("epoch", EPOCHS)
def test_crypto_gaps_beyond_the_limit_close_with_crypto_buffer_exceeded(epoch: tls.Epoch) -> None:
    pair = at(epoch)
    for datagram in packets(pair.client, gaps(SERVER_WINDOW_BYTES + 2000), epoch):
        pair.now += 0.1
        pair.server.receive_datagram(datagram, pair.client_address, pair.now)
    assert close_code(pair) == QuicErrorCode.CRYPTO_BUFFER_EXCEEDED


@pytest.mark.parametrize("epoch", EPOCHS)
def test_crypto_gaps_within_the_limit_take_twice_the_window_at_most(epoch: tls.Epoch) -> None:
    pair = at(epoch)
    receiver = pair.server._crypto_streams[epoch].receiver if epoch is not tls.Epoch.INITIAL else None
    start = 0 if receiver is None else receiver.starting_offset()
    for datagram in packets(pair.client, gaps(start + SERVER_WINDOW_BYTES, start), epoch):
        pair.now += 0.1
        pair.server.receive_datagram(datagram, pair.client_address, pair.now)
    buffer: object = pair.server._crypto_streams[epoch].receiver
    assert isinstance(buffer, CryptoReceiver)
    assert len(buffer._data) + len(buffer._has) <= 2 * SERVER_WINDOW_BYTES
    assert close_code(pair) is None


def test_a_client_hello_in_pieces_of_one_byte_and_backwards_completes_the_handshake() -> None:
    pair = connected(is_handshaken=False)
    sender = pair.client._crypto_streams[tls.Epoch.INITIAL].sender
    hello = bytes(sender._buffer)
    frames = [crypto(offset, hello[offset : offset + 1]) for offset in reversed(range(len(hello)))]
    for datagram in packets(pair.client, frames, tls.Epoch.INITIAL):
        pair.now += 0.1
        pair.server.receive_datagram(datagram, pair.client_address, pair.now)
    pair.exchange()
    assert of(HandshakeCompleted, pair.server_events)


def test_a_tls_message_longer_than_the_window_closes_with_crypto_buffer_exceeded() -> None:
    pair = connected(is_handshaken=False)
    stream = b"\x01\x10\x00\x00" + bytes(SERVER_WINDOW_BYTES)
    frames = [crypto(offset, stream[offset : offset + 1000]) for offset in range(0, len(stream), 1000)]
    for datagram in packets(pair.client, frames, tls.Epoch.INITIAL):
        pair.now += 0.1
        pair.server.receive_datagram(datagram, pair.client_address, pair.now)
    assert close_code(pair) == QuicErrorCode.CRYPTO_BUFFER_EXCEEDED


def test_crypto_data_behind_the_client_hello_is_a_protocol_violation() -> None:
    """RFC 9001 section 4.1.3: a level that is over must not bring more."""
    pair = connected(is_handshaken=False)
    pair.client_sends()
    end = pair.server._crypto_streams[tls.Epoch.INITIAL].receiver.starting_offset()
    datagram = packet(pair.client, crypto(end, b"\x01"), tls.Epoch.INITIAL)
    pair.server.receive_datagram(datagram, pair.client_address, pair.now)
    assert close_code(pair) == QuicErrorCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize("seed", range(20))
def test_shuffled_overlapping_pieces_give_the_stream_back(seed: int) -> None:
    rng = random.Random(seed)
    stream = rng.randbytes(4096)
    frames = []
    for offset in range(0, 4096, 16):
        begin = max(0, offset - rng.randrange(20))
        frames += [piece(begin, stream[begin : offset + 16])] * rng.randint(1, 2)
    rng.shuffle(frames)
    receiver = CryptoReceiver(4096)
    events = [receiver.handle_frame(each) for each in frames]
    assert b"".join(event.data for event in events if event) == stream
    assert receiver.starting_offset() == 4096
    assert not receiver._data


def test_the_window_moves_with_what_was_taken() -> None:
    receiver = CryptoReceiver(10)
    assert receiver.handle_frame(piece(0, bytes(10))) is not None
    assert receiver.handle_frame(piece(0, bytes(10))) is None
    assert receiver.handle_frame(piece(19, b"x")) is None
    with pytest.raises(CryptoOverflowError):
        receiver.handle_frame(piece(20, b"x"))

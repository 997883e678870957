"""RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset): negotiated, sent, and taken."""

from __future__ import annotations

import pytest
from aioquic import tls
from aioquic.buffer import encode_uint_var
from aioquic.quic.connection import QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode, QuicStreamFrame
from aioquic.quic.stream import FinalSizeError

from tests.unit.voicelink.quic.harness import Pair, connected, of
from voicelink.quic import Connection, ConnectionOptions
from voicelink.quic.events import StreamDataReceived, StreamReset
from voicelink.quic.limits.reassembly import ReassemblyBudget, StreamReceiver
from voicelink.quic.parts.reset_stream_at import PARAMETERS, RESET_STREAM_AT

HEADER, BODY = b"\x40\x54\x00", bytes(50_000)


def reset_frame(stream_id: int, code: int, final_size: int, reliable_size: int) -> bytes:
    return b"".join(map(encode_uint_var, (RESET_STREAM_AT, stream_id, code, final_size, reliable_size)))


def inject(connection: Connection, frames: bytes) -> None:
    """Hand frames to a connection as if a 1-RTT packet had brought them."""
    context = QuicReceiveContext(
        epoch=tls.Epoch.ONE_RTT,
        host_cid=connection.host_cid,
        network_path=connection._network_paths[0],
        quic_logger_frames=None,
        time=10.0,
        version=None,
    )
    connection._payload_received(context, frames)


def receiver() -> tuple[StreamReceiver, ReassemblyBudget]:
    budget = ReassemblyBudget()
    return StreamReceiver(3, budget), budget


def reset(stream: StreamReceiver, final_size: int, reliable_size: int, code: int = 9) -> StreamReset | None:
    stream.next_reliable_size = reliable_size
    event = stream.handle_reset(final_size=final_size, error_code=code)
    stream.next_reliable_size = 0
    return event


def test_both_identifiers_of_the_parameter_are_sent_without_a_value() -> None:
    data = connected(is_handshaken=False).client._serialize_transport_parameters()
    assert all(data.count(encode_uint_var(each) + b"\0") for each in PARAMETERS)


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_either_identifier_of_the_parameter_negotiates(parameter: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicelink.quic.parts.reset_stream_at.PARAMETERS", (parameter,))
    pair = connected()
    monkeypatch.undo()
    assert pair.client.peer_takes_partial_resets
    assert pair.server.peer_takes_partial_resets


def test_a_parameter_with_a_value_is_a_transport_parameter_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = connected(is_handshaken=False)
    plain = pair.server._serialize_transport_parameters
    monkeypatch.setattr(
        pair.server, "_serialize_transport_parameters", lambda: plain().replace(b"\x1d\0", b"\x1d\x01x")
    )
    pair.exchange(2)
    assert pair.client._close_event is not None
    assert pair.client._close_event.error_code == QuicErrorCode.TRANSPORT_PARAMETER_ERROR


def test_a_reset_delivers_the_reliable_bytes_first_though_they_were_never_sent_before() -> None:
    pair = connected()
    pair.client.send_stream_data(2, HEADER + BODY)
    pair.client.reset_stream_at(2, 77, len(HEADER))
    pair.exchange(2)
    data = of(StreamDataReceived, pair.server_events)
    assert b"".join(each.data for each in data) == HEADER
    assert of(StreamReset, pair.server_events) == [StreamReset(error_code=77, stream_id=2)]
    assert pair.server_events.index(data[-1]) < pair.server_events.index(of(StreamReset, pair.server_events)[0])
    assert 2 not in pair.client._streams


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_packet_costs_neither_the_reliable_bytes_nor_the_reset(lost: int) -> None:
    pair = connected()
    sent = 0

    def drop(sender: str, datagram: bytes) -> bool:
        nonlocal sent
        sent += sender == "client"
        return sender == "client" and sent - 1 == lost

    pair.client.send_stream_data(2, HEADER + BODY)
    pair.drop = drop
    pair.client_sends()
    pair.client.reset_stream_at(2, 77, len(HEADER))
    for _ in range(8):
        pair.now += 0.5
        pair.exchange(2)
    data = b"".join(each.data for each in of(StreamDataReceived, pair.server_events))
    assert data.startswith(HEADER)
    assert of(StreamReset, pair.server_events) == [StreamReset(error_code=77, stream_id=2)]
    assert 2 not in pair.client._streams
    assert not pair.server.is_ended


def test_a_reset_after_the_fin_delivers_the_reliable_bytes() -> None:
    pair = connected()
    pair.client.send_stream_data(2, HEADER + BODY, True)
    pair.drop = lambda sender, datagram: sender == "client"
    pair.client_sends()
    pair.drop = lambda sender, datagram: False
    pair.client.reset_stream_at(2, 5, len(HEADER))
    for _ in range(4):
        pair.now += 0.5
        pair.exchange(2)
    assert b"".join(each.data for each in of(StreamDataReceived, pair.server_events)).startswith(HEADER)
    assert of(StreamReset, pair.server_events) == [StreamReset(error_code=5, stream_id=2)]
    assert not pair.client.is_ended


def test_a_peer_without_the_extension_gets_a_plain_reset() -> None:
    pair = connected()
    pair.client._partial_resets.is_supported_by_peer = False
    pair.client.send_stream_data(2, HEADER + BODY)
    pair.client.reset_stream_at(2, 77, len(HEADER))
    pair.exchange(2)
    assert not of(StreamDataReceived, pair.server_events)
    assert of(StreamReset, pair.server_events) == [StreamReset(error_code=77, stream_id=2)]


def test_a_stop_from_the_peer_drops_the_reliable_bytes_too() -> None:
    pair = connected()
    pair.client.send_stream_data(2, HEADER)
    pair.exchange(1)
    pair.client.send_stream_data(2, BODY)
    pair.client.reset_stream_at(2, 77, len(HEADER) + len(BODY))
    pair.client._streams[2].sender.reset(0)
    pair.exchange(4)
    assert of(StreamReset, pair.server_events) == [StreamReset(error_code=77, stream_id=2)]
    assert not pair.server.is_ended


def test_a_reliable_size_beyond_the_final_size_is_a_frame_encoding_error() -> None:
    pair = connected()
    pair.server.next_event()
    with pytest.raises(Exception, match="reliable size 11 of 10 bytes") as caught:
        inject(pair.server, reset_frame(2, 0, 10, 11))
    assert caught.value.error_code == QuicErrorCode.FRAME_ENCODING_ERROR  # type: ignore[attr-defined]


def test_a_final_size_beyond_the_stream_limit_is_a_flow_control_error() -> None:
    pair = connected()
    with pytest.raises(Exception, match="Over stream data limit") as caught:
        inject(pair.server, reset_frame(2, 0, 1 << 30, 3))
    assert caught.value.error_code == QuicErrorCode.FLOW_CONTROL_ERROR  # type: ignore[attr-defined]


def test_a_stream_of_the_receivers_own_cannot_be_reset() -> None:
    pair: Pair = connected()
    with pytest.raises(Exception, match="Stream is send-only") as caught:
        inject(pair.server, reset_frame(3, 0, 0, 0))
    assert caught.value.error_code == QuicErrorCode.STREAM_STATE_ERROR  # type: ignore[attr-defined]


def test_the_receiver_holds_the_reset_back_until_the_reliable_bytes_are_delivered() -> None:
    stream, budget = receiver()
    assert reset(stream, final_size=100, reliable_size=10) is None
    late = stream.handle_frame(QuicStreamFrame(offset=5, data=b"56789abcdef"))
    assert late is None
    first = stream.handle_frame(QuicStreamFrame(offset=0, data=b"01234"))
    assert first == StreamDataReceived(data=b"0123456789", end_stream=False, stream_id=3)
    assert budget.resets == [StreamReset(error_code=9, stream_id=3)]
    assert (stream.is_finished, budget.chunks, budget.delivered_bytes) == (True, 0, 100)


def test_the_receiver_takes_a_reset_at_once_where_the_reliable_bytes_were_delivered() -> None:
    stream, budget = receiver()
    stream.handle_frame(QuicStreamFrame(offset=0, data=b"0123456789"))
    assert reset(stream, final_size=20, reliable_size=10) == StreamReset(error_code=9, stream_id=3)
    assert budget.delivered_bytes == 20


@pytest.mark.parametrize(("second", "is_due"), [(20, False), (0, True)])
def test_a_second_reset_can_only_promise_less(second: int, is_due: bool) -> None:
    stream, _ = receiver()
    reset(stream, final_size=100, reliable_size=10, code=1)
    event = reset(stream, final_size=100, reliable_size=second, code=2)
    assert event == (StreamReset(error_code=1, stream_id=3) if is_due else None)


def test_a_second_reset_of_another_final_size_is_an_error() -> None:
    stream, _ = receiver()
    reset(stream, final_size=100, reliable_size=10)
    with pytest.raises(FinalSizeError):
        reset(stream, final_size=99, reliable_size=10)


@pytest.mark.parametrize("is_partial", [False, True])
def test_a_stream_beyond_the_peers_limit_is_reset_only_once_it_may_be_opened(is_partial: bool) -> None:
    """RFC 9000 section 4.6: a RESET_STREAM opens a stream, too."""
    pair = connected(options=ConnectionOptions(max_streams=2))
    pair.client._partial_resets.is_supported_by_peer = is_partial
    streams = [2, 6, 10]
    for stream_id in streams:
        pair.client.send_stream_data(stream_id, HEADER)
    pair.client.reset_stream_at(streams[-1], 77, len(HEADER))
    pair.exchange(2)
    assert not pair.server.is_ended
    assert not of(StreamReset, pair.server_events)
    pair.client.send_stream_data(streams[0], b"", end_stream=True)
    pair.exchange(6)
    assert of(StreamReset, pair.server_events) == [StreamReset(error_code=77, stream_id=streams[-1])]
    assert not pair.server.is_ended

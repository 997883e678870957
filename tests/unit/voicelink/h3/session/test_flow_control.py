"""What a session holds back for want of the peer's credit (draft-ietf-webtrans-http3-16 section 5)."""

from __future__ import annotations

import pytest

from voicelink.h3.session.capsules import (
    Capsule,
    CapsuleReader,
    DataBlocked,
    MaxData,
    MaxStreams,
    StreamsBlocked,
    encode_capsule,
)
from voicelink.h3.session.flow_control import Limits, Outbox, Write
from voicelink.wire import Malformed, encode_varint

HEADER = b"\x40\x54\x00"


def opened(limits: Limits, *streams: int) -> Outbox:
    outbox = Outbox(limits)
    for stream in streams:
        assert outbox.open(stream, HEADER, is_unidirectional=True) == [Write(stream, HEADER)]
    return outbox


def test_headers_cost_no_data_credit() -> None:
    outbox = opened(Limits(4, 0, 2), 3, 7)
    assert outbox.write(3, b"abcd") == [Write(3, b"abcd")]
    assert outbox.blocked() == []


def test_data_is_split_where_the_credit_ends_and_the_fin_waits() -> None:
    outbox = opened(Limits(3, 0, 1), 3)
    assert outbox.write(3, b"abcd", end_stream=True) == [Write(3, b"abc")]
    assert outbox.blocked() == [DataBlocked(3)]
    assert outbox.blocked() == []
    assert outbox.raise_limit(MaxData(9))
    assert outbox.release() == [Write(3, b"d", end_stream=True)]


def test_a_fin_alone_needs_no_credit() -> None:
    outbox = opened(Limits(0, 0, 1), 3)
    assert outbox.write(3, b"", end_stream=True) == [Write(3, b"", end_stream=True)]


def test_a_short_message_does_not_wait_behind_speech() -> None:
    outbox = opened(Limits(0, 0, 1), 3)
    outbox.write(3, bytes(1000))
    outbox.write(0, b"flush")
    assert outbox.raise_limit(MaxData(7))
    assert outbox.release() == [Write(0, b"flush"), Write(3, bytes(2))]


def test_streams_of_each_kind_have_their_own_credit() -> None:
    outbox = Outbox(Limits(100, 1, 0))
    assert outbox.open(3, HEADER, is_unidirectional=True) == []
    assert outbox.write(3, b"speech", end_stream=True) == []
    assert outbox.open(1, HEADER, is_unidirectional=False) == [Write(1, HEADER)]
    assert outbox.blocked() == [StreamsBlocked(0, is_unidirectional=True)]
    assert outbox.raise_limit(MaxStreams(1, is_unidirectional=True))
    assert outbox.release() == [Write(3, HEADER), Write(3, b"speech", end_stream=True)]


def test_a_dropped_stream_is_not_sent_later() -> None:
    outbox = opened(Limits(0, 0, 1), 3)
    outbox.write(3, b"speech")
    outbox.drop(3)
    assert outbox.raise_limit(MaxData(100))
    assert outbox.release() == []


@pytest.mark.parametrize("capsule", [MaxData(4), MaxStreams(1, is_unidirectional=True)])
def test_a_limit_may_be_repeated_but_not_lowered(capsule: MaxData | MaxStreams) -> None:
    outbox = Outbox(Limits(5, 0, 2))
    assert outbox.raise_limit(MaxData(5))
    assert outbox.raise_limit(MaxStreams(2, is_unidirectional=True))
    assert not outbox.raise_limit(capsule)


@pytest.mark.parametrize(
    ("capsule", "number"),
    [
        (MaxData(1 << 61), 0x190B4D3D),
        (MaxStreams(1 << 60, is_unidirectional=False), 0x190B4D3F),
        (MaxStreams(7, is_unidirectional=True), 0x190B4D40),
        (DataBlocked(0), 0x190B4D41),
        (StreamsBlocked(70, is_unidirectional=False), 0x190B4D43),
        (StreamsBlocked(7, is_unidirectional=True), 0x190B4D44),
    ],
)
def test_flow_control_capsules_have_the_drafts_numbers(capsule: Capsule, number: int) -> None:
    data = encode_capsule(capsule)
    assert data.startswith(encode_varint(number))
    assert CapsuleReader().feed(data) == [capsule]


@pytest.mark.parametrize(
    ("number", "body", "reason"),
    [
        (0x190B4D3D, b"", "capsule 0x190b4d3d holds one varint, got 0 bytes"),
        (0x190B4D3D, b"\x01\x02", "capsule 0x190b4d3d holds one varint, got 2 bytes"),
        (0x190B4D40, encode_varint((1 << 60) + 1), "capsule 0x190b4d40 names 1152921504606846977 streams"),
        (0x190B4D3E, b"\x00\x00", "capsule 0x190b4d3e belongs to WebTransport over HTTP/2"),
        (0x190B4D42, b"\x00\x00", "capsule 0x190b4d42 belongs to WebTransport over HTTP/2"),
    ],
)
def test_malformed_flow_control_capsules_are_named(number: int, body: bytes, reason: str) -> None:
    fault = CapsuleReader().feed(encode_varint(number) + encode_varint(len(body)) + body)
    assert isinstance(fault, Malformed)
    assert fault.reason.startswith(reason)

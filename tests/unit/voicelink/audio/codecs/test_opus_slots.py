"""Opus packets that reach an agent, and the caller, as they are."""

from __future__ import annotations

import pytest

from voicelink.audio.codecs.opus import OpusEncoder
from voicelink.audio.codecs.opus_slots import (
    EMPTY_SLOT,
    SLOT_BYTES,
    OpusSlotDecoder,
    OpusSlotEncoder,
    packet_of,
    packet_tenths_ms,
    slot_of,
)
from voicelink.wire import AudioFrame, CloseCode, Codec, Malformed

PACKET = OpusEncoder(16_000).encode(bytes(640))
FRAME_TICKS = 960


def frame(timestamp: int, payload: bytes = PACKET, codec: Codec = Codec.OPUS) -> AudioFrame:
    return AudioFrame(0, timestamp, codec, payload)


@pytest.mark.parametrize(
    ("toc", "tenths_ms"),
    [(0 << 3, 100), (1 << 3, 200), (3 << 3, 600), (12 << 3, 100), (13 << 3, 200), (16 << 3, 25), (31 << 3, 200)],
)
def test_the_first_byte_of_a_packet_says_how_long_its_frames_are(toc: int, tenths_ms: int) -> None:
    """RFC 6716 section 3.1, table 2."""
    assert packet_tenths_ms(bytes([toc])) == tenths_ms
    assert packet_tenths_ms(bytes([toc | 1])) == packet_tenths_ms(bytes([toc | 2])) == 2 * tenths_ms
    assert packet_tenths_ms(bytes([toc | 3, 0x80 | 3])) == 3 * tenths_ms


def test_our_encoders_packet_lasts_20_ms() -> None:
    assert packet_tenths_ms(PACKET) == 200


def test_a_packet_comes_through_unchanged() -> None:
    slot = OpusSlotDecoder().decode(frame(0))
    assert isinstance(slot, bytes)
    assert len(slot) == SLOT_BYTES
    assert OpusSlotEncoder(Codec.OPUS).push(slot) == [(0, PACKET)]


def test_a_gap_becomes_empty_slots_and_empty_slots_a_gap() -> None:
    decoder, encoder = OpusSlotDecoder(), OpusSlotEncoder(Codec.OPUS)
    sent = []
    for timestamp in (0, FRAME_TICKS, 6 * FRAME_TICKS):
        audio = decoder.decode(frame(timestamp))
        assert isinstance(audio, bytes)
        sent += encoder.push(audio)
    assert sent == [(0, PACKET), (FRAME_TICKS, PACKET), (6 * FRAME_TICKS, PACKET)]


def test_a_gap_is_at_most_2_s() -> None:
    decoder = OpusSlotDecoder()
    decoder.decode(frame(0))
    audio = decoder.decode(frame(10_000 * FRAME_TICKS))
    assert isinstance(audio, bytes)
    assert len(audio) == 101 * SLOT_BYTES


def test_a_packet_of_60_ms_takes_three_slots() -> None:
    packet = bytes([3 << 3, 1, 2])
    assert OpusSlotDecoder().decode(frame(0, packet)) == slot_of(packet) + 2 * EMPTY_SLOT


@pytest.mark.parametrize(
    "payload", [b"", bytes([0]), bytes([3]), bytes([31 << 3 | 3, 7]), bytes([1 << 3]) + bytes(1_275)]
)
def test_a_packet_that_fills_no_slots_is_malformed(payload: bytes) -> None:
    """Empty, of 10 ms, without its count, of 140 ms, too long for a slot."""
    assert isinstance(OpusSlotDecoder().decode(frame(0, payload)), Malformed)


def test_another_codec_is_unsupported() -> None:
    fault = OpusSlotDecoder().decode(frame(0, bytes(160), Codec.PCMU))
    assert isinstance(fault, Malformed)
    assert fault.code is CloseCode.UNSUPPORTED_CODEC


def test_a_slot_in_pieces_is_sent_once_it_is_whole() -> None:
    encoder, slot = OpusSlotEncoder(Codec.OPUS), slot_of(PACKET)
    assert encoder.push(slot[:100]) == []
    assert encoder.push(slot[100:] + slot[:5]) == [(0, PACKET)]
    assert encoder.flush() == []


def test_a_caller_of_another_codec_hears_nothing() -> None:
    assert OpusSlotEncoder(Codec.PCMU).push(slot_of(PACKET)) == []


def test_an_empty_slot_holds_no_packet() -> None:
    assert packet_of(EMPTY_SLOT) == b""
    assert packet_of(slot_of(PACKET)) == PACKET

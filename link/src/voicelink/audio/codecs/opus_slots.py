"""Opus packets as they are, for agents that neither decode nor encode: each lies in a slot of 20 ms, of fixed length.

A slot is a packet's length (2 bytes), the packet and zeros. An empty one, of length 0, is 20 ms in which no packet
begins: a gap that DTX leaves, or the rest of a longer packet. So bytes count time, as those of samples do.
"""

from __future__ import annotations

from typing import Final

from voicelink.audio.frames import FRAME_MS, FRAME_TICKS
from voicelink.wire import AudioFrame, CloseCode, Codec, Malformed

MAX_PACKET_BYTES: Final = 1_275
SLOT_BYTES: Final = 2 + MAX_PACKET_BYTES
SLOTS_PER_S: Final = 1000 // FRAME_MS
EMPTY_SLOT: Final = bytes(SLOT_BYTES)
_MAX_GAP_SLOTS: Final = 2 * SLOTS_PER_S
_MAX_PACKET_TENTHS_MS: Final = 1_200


def slot_of(packet: bytes) -> bytes:
    """Return the slot in which a packet of at most `MAX_PACKET_BYTES` begins."""
    return len(packet).to_bytes(2, "big") + packet.ljust(MAX_PACKET_BYTES, b"\0")


def packet_of(slot: bytes) -> bytes:
    """Return the packet that begins in a slot; empty where none does."""
    return slot[2 : 2 + int.from_bytes(slot[:2], "big")]


def packet_tenths_ms(packet: bytes) -> int:
    """Return the length of an Opus packet in tenths of a millisecond (RFC 6716 section 3.1); 0 for a malformed one."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (100, 200, 400, 600)[config % 4]
    elif config < 16:
        frame = (100, 200)[config % 2]
    else:
        frame = (25, 50, 100, 200)[config % 4]
    if code < 3:
        return frame if code == 0 else 2 * frame
    return frame * (packet[1] & 0x3F) if len(packet) > 1 else 0


class OpusSlotDecoder:
    """Puts a caller's Opus frames into slots, as `voicelink.audio.codec.FrameDecoder` turns them into PCM16."""

    def __init__(self) -> None:
        self._expected_timestamp: int | None = None

    def decode(self, frame: AudioFrame) -> bytes | Malformed:
        """Return the frame's slots behind the empty ones of the gap before it, at most 2 s."""
        if frame.codec is not Codec.OPUS:
            return Malformed(f"the agent takes opus alone, got {frame.codec.name.lower()}", CloseCode.UNSUPPORTED_CODEC)
        tenths_ms = packet_tenths_ms(frame.payload)
        if not 0 < tenths_ms <= _MAX_PACKET_TENTHS_MS or tenths_ms % (10 * FRAME_MS):
            return Malformed(f"opus packet: {tenths_ms / 10:g} ms, the agent takes multiples of {FRAME_MS} up to 120")
        if len(frame.payload) > MAX_PACKET_BYTES:
            return Malformed(f"opus packet: {len(frame.payload)} bytes, the agent takes {MAX_PACKET_BYTES}")
        gap = 0 if self._expected_timestamp is None else (frame.timestamp - self._expected_timestamp) // FRAME_TICKS
        slots = tenths_ms // (10 * FRAME_MS)
        self._expected_timestamp = frame.timestamp + slots * FRAME_TICKS
        return EMPTY_SLOT * min(max(gap, 0), _MAX_GAP_SLOTS) + slot_of(frame.payload) + EMPTY_SLOT * (slots - 1)


class OpusSlotEncoder:
    """Sends what an agent put into slots; empty ones are left out. A caller that plays no Opus hears nothing."""

    def __init__(self, codec: Codec) -> None:
        self._is_understood = codec is Codec.OPUS
        self._timestamp = 0
        self._pending = b""

    def push(self, audio: bytes) -> list[tuple[int, bytes]]:
        """Take any length of slots and return (timestamp, payload) of every packet that begins in a whole one."""
        audio = self._pending + audio if self._pending else audio
        frames, whole = [], len(audio) - len(audio) % SLOT_BYTES
        for start in range(0, whole, SLOT_BYTES):
            packet = packet_of(audio[start : start + SLOT_BYTES])
            if packet and self._is_understood:
                frames.append((self._timestamp, packet))
            self._timestamp += FRAME_TICKS
        self._pending = audio[whole:]
        return frames

    def flush(self) -> list[tuple[int, bytes]]:
        """Return nothing: part of a slot is no packet."""
        self._pending = b""
        return []

"""The Opus frames in RTP packets, by RTP timestamp, in RED (RFC 2198) or by themselves, and how late they came."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.uplink.conditions import ONE_WAY_S
from bench.uplink.outcome import Outcome
from voicelink.audio.frames import FRAME_S, FRAME_TICKS
from voicelink.wire import CLOCK_HZ

RED_PAYLOAD_TYPE: Final = 63
_FOLLOWS: Final = 0x80
_HEADER_BYTES: Final = 4
_WRAP: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet of RTP, and the monotonic time at which it came, in seconds."""

    at: float
    timestamp: int
    payload_type: int
    payload: bytes

    @classmethod
    def of(cls, noted: Mapping[str, Any]) -> Arrival:
        """As pion's side prints it."""
        return cls(noted["at"], noted["timestamp"], noted["payload_type"], base64.b64decode(noted["payload"]))


def blocks_of_red(timestamp: int, payload: bytes) -> list[tuple[int, bytes]]:
    """Timestamp and payload of each block; raises `ValueError` where lengths do not fit (RFC 2198 section 3)."""
    headers: list[tuple[int, int]] = []
    at = 0
    while at < len(payload) and payload[at] & _FOLLOWS:
        header = int.from_bytes(payload[at + 1 : at + _HEADER_BYTES], "big")
        headers.append((header >> 10, header & 0x3FF))
        at += _HEADER_BYTES
    at += 1
    if at + sum(length for _, length in headers) > len(payload):
        raise ValueError(f"RED of {len(payload)} bytes is shorter than its blocks")
    blocks = []
    for offset, length in headers:
        blocks.append(((timestamp - offset) % _WRAP, payload[at : at + length]))
        at += length
    return [*blocks, (timestamp, payload[at:])]


def frames_of(arrivals: Iterable[Arrival]) -> dict[int, tuple[float, bytes]]:
    """By RTP timestamp, when each frame came first, and its Opus; a repeated block of no length is none."""
    found: dict[int, tuple[float, bytes]] = {}
    for each in arrivals:
        if not each.payload:  # padding, by which a browser probes the link
            continue
        is_red = each.payload_type == RED_PAYLOAD_TYPE
        blocks = blocks_of_red(each.timestamp, each.payload) if is_red else [(each.timestamp, each.payload)]
        for timestamp, opus in blocks:
            if opus and (timestamp not in found or each.at < found[timestamp][0]):
                found[timestamp] = each.at, opus
    return found


def outcome_of(arrivals: Iterable[Arrival], speaks_at: float, frame_count: int, byte_count: int) -> Outcome:
    """Of the frames from `speaks_at` on, a monotonic time.

    A frame's own time is its RTP timestamp, with the clock set by the frame of the call that came earliest: the link's
    50 ms after it was made.
    """
    frames = frames_of(arrivals)
    first = next(iter(frames))
    ticks = {timestamp: (timestamp - first + _WRAP // 2) % _WRAP - _WRAP // 2 for timestamp in frames}
    zero = min(at - ticks[timestamp] / CLOCK_HZ for timestamp, (at, _) in frames.items()) - ONE_WAY_S
    start = round((speaks_at - zero) / FRAME_S)
    late_ms, packets = {}, {}
    for timestamp, (at, opus) in frames.items():
        number = round(ticks[timestamp] / FRAME_TICKS) - start
        if 0 <= number < frame_count:
            late_ms[number] = 1000 * (at - zero - ticks[timestamp] / CLOCK_HZ - ONE_WAY_S)
            packets[number] = opus
    return Outcome(frame_count, late_ms, byte_count, packets)

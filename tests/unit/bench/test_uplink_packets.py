"""Opus frames out of RTP packets, by themselves and in RED, and how late they are."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from bench.uplink.emulated.chromium.packets import (
    RED_PAYLOAD_TYPE,
    Arrival,
    blocks_of_red,
    frames_of,
    outcome_of,
)

OPUS = 111
BEGAN = 100.0
FIRST = (1 << 32) - 960 * 5  # timestamps wrap within the call


def timestamp(number: int) -> int:
    return (FIRST + 960 * number) % (1 << 32)


def packet(number: int, delay_s: float = 0.05) -> Arrival:
    return Arrival(BEGAN + number * 0.02 + delay_s, timestamp(number), OPUS, bytes([number]))


def red(number: int, *, lost: Iterable[int] = ()) -> list[Arrival]:
    """Packets of so many frames, each with the one before, without those that are lost."""
    found = []
    for n in range(number):
        header = bytes([0x80 | OPUS]) + (960 << 10 | 1).to_bytes(3, "big") + bytes([OPUS])
        payload = header + bytes([max(n - 1, 0), n])
        if n not in set(lost):
            found.append(Arrival(packet(n).at, timestamp(n), RED_PAYLOAD_TYPE, payload))
    return found


def test_red_has_blocks_with_times_of_their_own() -> None:
    payload = bytes([0x80 | OPUS]) + (1920 << 10 | 2).to_bytes(3, "big")
    payload += bytes([0x80 | OPUS]) + (960 << 10 | 1).to_bytes(3, "big") + bytes([OPUS]) + b"aabccc"
    assert blocks_of_red(960, payload) == [((1 << 32) - 960, b"aa"), (0, b"b"), (960, b"ccc")]
    assert blocks_of_red(960, bytes([OPUS]) + b"c") == [(960, b"c")]


def test_red_that_is_too_short_is_refused() -> None:
    payload = bytes([0x80 | OPUS]) + (960 << 10 | 9).to_bytes(3, "big") + bytes([OPUS]) + b"short"
    with pytest.raises(ValueError, match="shorter than its blocks"):
        blocks_of_red(0, payload)
    with pytest.raises(ValueError, match="shorter than its blocks"):
        blocks_of_red(0, bytes([0x80 | OPUS]))


def test_frame_comes_with_the_packet_that_is_first_and_padding_is_none() -> None:
    again, padding = packet(3, 0.2), [Arrival(BEGAN, timestamp(9), kind, b"") for kind in (OPUS, RED_PAYLOAD_TYPE)]
    assert frames_of([packet(3), again, *padding]) == {timestamp(3): (packet(3).at, bytes([3]))}
    assert frames_of([again, packet(3)]) == frames_of([packet(3)])


def test_lost_packet_comes_with_the_next_one_in_red_and_two_do_not() -> None:
    frames = frames_of(red(20, lost=[7, 12, 13]))
    assert frames[timestamp(7)] == (packet(8).at, bytes([7]))
    assert timestamp(12) not in frames
    assert frames[timestamp(13)] == (packet(14).at, bytes([13]))


def test_lateness_is_beside_the_earliest_frame_of_the_call() -> None:
    arrivals = [packet(n, 0.05 if n == 2 else 0.07) for n in range(50) if n not in {20, 21}] + [packet(21, 0.3)]
    outcome = outcome_of(arrivals, BEGAN + 10 * 0.02, 30, 3_000)
    assert (outcome.sent, outcome.byte_count) == (30, 3_000)
    assert sorted(outcome.late_ms) == [n for n in range(30) if n != 10]
    assert outcome.late_ms[0] == pytest.approx(20)
    assert outcome.late_ms[11] == pytest.approx(250)
    assert outcome.packets[0] == bytes([10])


def test_call_whose_packets_end_has_lost_the_rest() -> None:
    outcome = outcome_of([packet(n) for n in range(20)], BEGAN, 40, 1)
    assert outcome.delivered_percent == 50

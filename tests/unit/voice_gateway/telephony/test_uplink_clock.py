from __future__ import annotations

from voice_gateway.telephony.uplink_clock import UplinkClock
from voicelink.wire import Codec

FRAME = bytes(range(160))


def timestamps(*arrivals_ms: int) -> list[int]:
    clock = UplinkClock()
    return [clock.frame(at, FRAME).timestamp // 48 for at in arrivals_ms]


def test_payloads_are_untouched_and_numbered_without_gaps() -> None:
    clock = UplinkClock()
    frames = [clock.frame(number * 20, FRAME) for number in range(3)]
    assert [frame.sequence for frame in frames] == [0, 1, 2]
    assert {(frame.payload, frame.codec) for frame in frames} == {(FRAME, Codec.PCMU)}
    assert [frame.timestamp for frame in frames] == [0, 960, 1920]
    assert clock.next_sequence == 3


def test_the_first_frame_is_the_beginning() -> None:
    assert timestamps(5_000, 5_020) == [0, 20]


def test_uneven_timestamps_leave_the_samples_joined() -> None:
    assert timestamps(5, 23, 47, 61, 105, 104) == [0, 20, 40, 60, 80, 100]


def test_a_gap_stays_a_gap() -> None:
    assert timestamps(0, 20, 500, 520) == [0, 20, 500, 520]


def test_time_does_not_run_backwards() -> None:
    assert timestamps(1_000, 0, 0) == [0, 20, 40]


def test_payloads_of_any_length_count_by_their_bytes() -> None:
    clock = UplinkClock()
    assert [clock.frame(0, bytes(byte_count)).timestamp for byte_count in (1, 800, 160)] == [0, 6, 4806]

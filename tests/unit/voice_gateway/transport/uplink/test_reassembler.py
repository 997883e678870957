"""Frames from datagrams and the stream, put in order; and what is reported of them."""

from __future__ import annotations

import pytest

from voice_gateway.transport.uplink.reassembler import (
    MAX_AHEAD,
    MAX_AHEAD_BYTES,
    REPORT_INTERVAL_S,
    UplinkCounters,
    UplinkReassembler,
    replacement_frame,
)
from voicelink.audio.codec import FrameDecoder
from voicelink.audio.codecs.opus import OpusEncoder
from voicelink.wire import (
    MAX_REPORT_RUNS,
    AudioFrame,
    CloseCode,
    Codec,
    Malformed,
    UplinkDatagram,
    UplinkMode,
    UplinkReport,
    decode_uplink_report,
    encode_uplink_datagram,
)

NOW = 50.0


def frame(sequence: int) -> AudioFrame:
    return AudioFrame(sequence, sequence * 960, Codec.PCMU, b"\x55" * 160)


def datagram(number: int, *sequences: int, first: int = 0) -> bytes:
    return encode_uplink_datagram(UplinkDatagram(number, first, tuple(frame(each) for each in sequences)))


def reported(reassembler: UplinkReassembler, now: float = NOW) -> UplinkReport:
    report = decode_uplink_report(reassembler.report(now))
    assert isinstance(report, UplinkReport)
    return report


def fed(reassembler: UplinkReassembler, body: bytes, now: float = NOW) -> list[int]:
    frames = reassembler.datagram_received(body, now)
    assert not isinstance(frames, Malformed), frames
    return [each.sequence for each in frames]


def test_frames_come_out_in_order_and_once() -> None:
    reassembler = UplinkReassembler(7, UplinkMode.HYBRID)
    assert fed(reassembler, datagram(0, 7)) == [7]
    assert fed(reassembler, datagram(2, 9)) == []
    assert fed(reassembler, datagram(3, 9, 10)) == []
    assert fed(reassembler, datagram(1, 7, 8)) == [8, 9, 10]
    assert fed(reassembler, datagram(1, 7, 8)) == []


def test_the_stream_fills_gaps_too() -> None:
    reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
    assert fed(reassembler, datagram(0, 1)) == []
    assert reassembler.frame_received(frame(0)) == [frame(0), frame(1)]
    assert reassembler.frame_received(frame(0)) == []


def test_a_report_says_what_is_missing() -> None:
    reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
    fed(reassembler, datagram(0, 0, 1))
    fed(reassembler, datagram(4, 4, 5, 8))
    assert reported(reassembler, NOW + 0.012) == UplinkReport(4, 2, 12, 2, ((2, 2), (2, 1)))


def test_a_datagram_that_comes_twice_is_counted_once() -> None:
    reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
    for number in (0, 3, 3, 1, 1, 5_000, 5_000, 2):
        fed(reassembler, datagram(number))
    assert reported(reassembler).received == 4, "the last one is too old to know of"


def test_a_long_list_of_gaps_is_cut() -> None:
    reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
    for number in range(40):
        fed(reassembler, datagram(number, 2 * number + 1))
    assert reported(reassembler).runs == ((1, 1),) * MAX_REPORT_RUNS


def test_reports_are_due_at_once_where_a_datagram_is_missing_and_else_seldom() -> None:
    reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
    assert reassembler.report_at is None
    fed(reassembler, datagram(0, 0))
    assert reassembler.report_at == NOW
    reported(reassembler)
    assert reassembler.report_at is None
    fed(reassembler, datagram(1, 1), NOW + 0.020)
    assert reassembler.report_at == NOW + REPORT_INTERVAL_S
    fed(reassembler, datagram(3, 3), NOW + 0.030)
    assert reassembler.report_at == NOW + 0.030
    reported(reassembler, NOW + 0.030)
    fed(reassembler, datagram(2, 2), NOW + 0.035)
    assert reassembler.report_at == NOW + 0.035, "a late one is news as well"


def test_frames_too_far_ahead_are_neither_kept_nor_reported() -> None:
    reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
    fed(reassembler, datagram(0, MAX_AHEAD - 1, MAX_AHEAD))
    assert reported(reassembler).runs == ((MAX_AHEAD - 1, 1),)


def test_hybrid_gives_nothing_up() -> None:
    reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
    assert fed(reassembler, datagram(0, 9, first=9)) == []
    assert reported(reassembler).next_sequence == 0


def test_what_the_client_gave_up_is_stood_in_for() -> None:
    counters = UplinkCounters()
    reassembler = UplinkReassembler(0, UplinkMode.DEADLINE, counters)
    fed(reassembler, datagram(0, 0))
    frames = reassembler.datagram_received(datagram(5, 4, first=4), NOW)
    assert isinstance(frames, list)
    assert [(each.sequence, each.timestamp) for each in frames] == [(n, n * 960) for n in range(1, 5)]
    assert [each.payload for each in frames] == [b"\xff" * 160] * 3 + [frame(4).payload]
    assert counters.frames_given_up == 3
    assert reported(reassembler).next_sequence == 5


def test_what_came_before_it_was_given_up_is_delivered() -> None:
    counters = UplinkCounters()
    reassembler = UplinkReassembler(0, UplinkMode.DEADLINE, counters)
    fed(reassembler, datagram(0, 1))
    frames = reassembler.datagram_received(datagram(1, first=3), NOW)
    assert isinstance(frames, list)
    assert frames[1] == frame(1)
    assert counters.frames_given_up == 2


def test_too_much_cannot_be_given_up_at_once() -> None:
    reassembler = UplinkReassembler(5, UplinkMode.DEADLINE)
    assert len(fed(reassembler, datagram(0, first=5 + MAX_AHEAD))) == MAX_AHEAD
    fault = reassembler.datagram_received(datagram(1, first=6 + 2 * MAX_AHEAD), NOW)
    assert isinstance(fault, Malformed)
    assert fault.code is CloseCode.WRONG_ORDER


@pytest.mark.parametrize("body", [b"", b"\x01", bytes.fromhex("0105070700")])
def test_malformed_datagrams_are_values(body: bytes) -> None:
    assert isinstance(UplinkReassembler(0, UplinkMode.HYBRID).datagram_received(body, NOW), Malformed)


def test_other_datagrams_are_skipped() -> None:
    reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
    assert fed(reassembler, b"\x03anything") == []
    assert reassembler.report_at is None


@pytest.mark.parametrize(
    ("codec", "payload", "silence"),
    [
        (Codec.PCMU, b"\x12" * 160, b"\xff" * 160),
        (Codec.PCMA, b"\x12" * 160, b"\xd5" * 160),
        (Codec.PCM16_16K, b"\x12\x34" * 320, bytes(640)),
        (Codec.OPUS, b"\x4b\x41\x01", b"\x48"),
    ],
)
def test_a_replacement_is_as_long_as_the_frame_given_up(codec: Codec, payload: bytes, silence: bytes) -> None:
    before = AudioFrame(4, 9_000, codec, payload)
    assert replacement_frame(5, before, None) == AudioFrame(5, 9_960, codec, silence)
    assert replacement_frame(3, None, before) == AudioFrame(3, 8_040, codec, silence)
    close = AudioFrame(6, 9_960, codec, payload)
    assert replacement_frame(5, before, close).timestamp == 9_480


@pytest.mark.parametrize("has_neighbours", [True, False])
def test_a_listener_hears_a_gap_of_the_right_length(has_neighbours: bool) -> None:
    encoder, decoder = OpusEncoder(16_000), FrameDecoder(16_000)
    spoken = [AudioFrame(n, n * 960, Codec.OPUS, encoder.encode(bytes(range(256)) * 2 + bytes(128))) for n in range(6)]
    given_up = {2, 3} if has_neighbours else {0, 1, 2}
    before: AudioFrame | None = None
    samples = 0
    for each in spoken:
        after = None if before is None else spoken[-1]
        next_frame = replacement_frame(each.sequence, before, after) if each.sequence in given_up else each
        pcm = decoder.decode(next_frame)
        assert isinstance(pcm, bytes)
        samples += len(pcm) // 2
        before = next_frame
    assert samples == 6 * 320


class TestBytes:
    """PROTOCOL section 11: what waits for a missing frame is bounded in frames and in bytes."""

    LARGE = 16_384
    MOST = MAX_AHEAD_BYTES // LARGE

    def large(self, sequence: int) -> AudioFrame:
        return AudioFrame(sequence, sequence * 960, Codec.OPUS, bytes(self.LARGE))

    @pytest.mark.parametrize("mode", [UplinkMode.HYBRID, UplinkMode.DEADLINE])
    def test_frames_of_the_stream_ahead_of_a_gap_beyond_2_mb_end_the_session(self, mode: UplinkMode) -> None:
        reassembler = UplinkReassembler(0, mode)
        for sequence in range(1, self.MOST + 1):
            assert reassembler.frame_received(self.large(sequence)) == []
        fault = reassembler.frame_received(self.large(self.MOST + 1))
        assert isinstance(fault, Malformed)
        assert fault.code is CloseCode.OVERLOADED
        assert str(MAX_AHEAD_BYTES) in fault.reason

    def test_frames_of_datagrams_beyond_2_mb_are_ignored_and_not_reported(self) -> None:
        reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
        for sequence in range(1, self.MOST + 1):
            reassembler.frame_received(self.large(sequence))
        assert fed(reassembler, datagram(0, self.MOST + 1)) == []
        assert reported(reassembler).runs == ((1, self.MOST),)

    def test_the_missing_frame_is_taken_where_nothing_else_has_room(self) -> None:
        reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
        for sequence in range(1, self.MOST + 1):
            reassembler.frame_received(self.large(sequence))
        frames = reassembler.frame_received(self.large(0))
        assert isinstance(frames, list)
        assert len(frames) == self.MOST + 1
        for sequence in range(self.MOST + 2, 2 * self.MOST + 2):
            assert reassembler.frame_received(self.large(sequence)) == [], "there is room again"

    def test_a_frame_that_comes_twice_takes_room_once(self) -> None:
        reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
        for _ in range(3 * self.MOST):
            assert reassembler.frame_received(self.large(1)) == []

    def test_a_frame_of_the_stream_too_many_ahead_ends_the_session(self) -> None:
        reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
        assert reassembler.frame_received(frame(MAX_AHEAD - 1)) == []
        fault = reassembler.frame_received(frame(MAX_AHEAD))
        assert isinstance(fault, Malformed)
        assert fault.code is CloseCode.OVERLOADED

    def test_60_s_of_samples_at_16_khz_have_room(self) -> None:
        reassembler = UplinkReassembler(0, UplinkMode.HYBRID)
        for sequence in range(1, MAX_AHEAD):
            assert reassembler.frame_received(AudioFrame(sequence, sequence * 960, Codec.PCM16_16K, bytes(640))) == []

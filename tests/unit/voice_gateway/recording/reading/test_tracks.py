"""Tracks of every codec lie where they were captured and played, and are as long as the call."""

from __future__ import annotations

import numpy as np
import pytest

from voice_gateway.recording.reading.assembly import SegmentRecords, Timeline, assemble
from voice_gateway.recording.reading.export import ogg_file, wav_file
from voice_gateway.recording.reading.tracks import Samples, TooLong, render
from voice_gateway.recording.segments.format import Downlink, Event, Head, Playback, Record, Uplink
from voicelink.audio.codec import CODEC_RATE_HZ, FrameEncoder
from voicelink.audio.codecs.opus import ANSWERS, OpusDecoder
from voicelink.audio.ogg import ogg_opus
from voicelink.audio.wav import parse_wav
from voicelink.wire import Codec

FRAMES = 100
HEAD = Head(0, "call", "w", 1, 1_790_000_000_000_000, has_audio=True)


def _timeline(records: list[Record]) -> Timeline:
    return assemble([SegmentRecords(HEAD, tuple(records))])


def _clicks(rate_hz: int) -> Samples:
    """A tone of 20 ms in each half second."""
    track = np.zeros(FRAMES * rate_hz // 50, np.int16)
    tone = (8_000 * np.sin(2 * np.pi * 900 * np.arange(rate_hz // 50) / rate_hz)).astype(np.int16)
    for begin in range(rate_hz // 4, len(track), rate_hz // 2):
        track[begin : begin + len(tone)] = tone
    return track


def _spoken(codec: Codec, rate_hz: int) -> Timeline:
    encoder = FrameEncoder(codec, rate_hz, opus=ANSWERS)
    frames = encoder.push(_clicks(rate_hz).tobytes())
    return _timeline(
        [
            Uplink(20_000 * (timestamp // 960 + 1), sequence, timestamp, codec, payload)
            for sequence, (timestamp, payload) in enumerate(frames)
        ]
    )


def _offset_ms(recorded: Samples, true: Samples, rate_hz: int) -> float:
    """How much later the one is than the other, by their correlation."""
    size = 2 * len(true)
    spectrum = np.fft.rfft(recorded.astype(float), size) * np.conj(np.fft.rfft(true.astype(float), size))
    correlation = np.fft.irfft(spectrum)
    at = int(np.argmax(correlation))
    return (at if at < size // 2 else at - size) * 1000 / rate_hz


@pytest.mark.parametrize("codec", [Codec.PCM16_16K, Codec.PCM16_24K, Codec.PCM16_48K, Codec.PCMU, Codec.PCMA])
@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_a_track_is_not_late_at_any_rate(codec: Codec, rate_hz: int) -> None:
    tracks = render(_spoken(codec, CODEC_RATE_HZ[codec] or 48_000), rate_hz)
    assert len(tracks.caller) == len(tracks.agent) == FRAMES * rate_hz // 50
    assert abs(_offset_ms(tracks.caller, _clicks(rate_hz), rate_hz)) < 0.5


def test_opus_lies_where_it_was_captured() -> None:
    """Of the low-delay encoder the lookahead is 4 ms less than of that for voice, which is what is made up for."""
    timeline = _spoken(Codec.OPUS, 48_000)
    assert timeline.length == FRAMES * 960
    assert -4.5 < _offset_ms(render(timeline, 48_000).caller, _clicks(48_000), 48_000) < 0.5


def test_equal_rates_give_the_samples_as_they_are() -> None:
    assert np.array_equal(render(_spoken(Codec.PCM16_16K, 16_000), 16_000).caller, _clicks(16_000))


def test_frames_that_are_missing_are_silence_and_a_gap() -> None:
    whole = _spoken(Codec.PCM16_16K, 16_000)
    kept = [
        Uplink(
            20_000 * (placed.frame.sequence + 1),
            placed.frame.sequence,
            placed.start,
            Codec.PCM16_16K,
            placed.frame.payload,
        )
        for placed in whole.caller.frames
        if not 10 <= placed.frame.sequence < 15
    ]
    timeline = _timeline([*kept, Event(3_000_000, "acked", {"sequence": FRAMES + 4})])
    missing = [(gap.first, gap.last, gap.start, gap.end) for gap in timeline.caller.missing]
    assert missing == [(10, 14, 9_600, 14_400), (FRAMES, FRAMES + 4, 96_000, 100_800)]
    track = render(timeline, 16_000).caller
    assert not track[3_200:4_800].any()
    assert np.array_equal(track[4_800:32_000], _clicks(16_000)[4_800:])


def test_a_pause_of_a_microphone_is_silence_and_no_gap() -> None:
    frames = [
        Uplink(20_000, 0, 0, Codec.PCM16_16K, b"\1\0" * 320),
        Uplink(1_020_000, 1, 48_000, Codec.PCM16_16K, b"\2\0" * 320),
    ]
    timeline = _timeline(list(frames))
    assert timeline.caller.missing == ()
    assert timeline.length == 48_960


def test_the_second_stream_of_a_telephone_call_goes_on_after_the_time_that_passed() -> None:
    first = [Uplink(20_000 * (n + 1), n, 960 * n, Codec.PCMU, b"\x10" * 160) for n in range(50)]
    again = [Uplink(3_000_000 + 20_000 * n, 50 + n, 960 * n, Codec.PCMU, b"\x20" * 160) for n in range(50)]
    timeline = _timeline([*first, *again])
    assert timeline.caller.frames[50].start == pytest.approx(3_000_000 * 0.048 - 960, abs=2)


def test_a_timestamp_from_far_away_makes_no_call_of_years() -> None:
    timeline = _timeline(
        [
            Uplink(20_000, 0, 0, Codec.PCM16_16K, b"\1\0" * 320),
            Uplink(40_000, 1, 1 << 60, Codec.PCM16_16K, b"\1\0" * 320),
        ]
    )
    assert timeline.length < 48_000


def test_a_call_that_claims_to_be_too_long_is_not_decoded() -> None:
    timeline = _timeline(
        [Uplink(20_000 + n * 120_000_000, n, n * 120 * 48_000, Codec.PCM16_16K, b"\1\0" * 320) for n in range(300)]
    )
    with pytest.raises(TooLong, match="28800 s"):
        render(timeline, 8_000)


def test_frames_that_cannot_be_decoded_are_silence() -> None:
    timeline = _timeline(
        [Uplink(20_000, 0, 0, Codec.OPUS, b"\xff"), Uplink(40_000, 1, 960, Codec.PCM16_16K, b"\1\0" * 320)]
    )
    assert render(timeline, 16_000).caller.any()


def test_a_wav_file_holds_both_tracks() -> None:
    data = wav_file(_spoken(Codec.PCM16_16K, 16_000), 16_000)
    samples = np.frombuffer(data[44:], "<i2").reshape(-1, 2)
    assert np.array_equal(samples[:, 0], _clicks(16_000))
    assert not samples[:, 1].any()
    assert parse_wav(data).duration_s == FRAMES / 50


def _packets(ogg: bytes) -> tuple[list[bytes], int]:
    """A second reader of Ogg: the packets, and the last granule position."""
    packets, at, position = [], 0, 0
    while at < len(ogg):
        assert ogg[at : at + 4] == b"OggS"
        position = int.from_bytes(ogg[at + 6 : at + 14], "little")
        lacing = ogg[at + 27 : at + 27 + ogg[at + 26]]
        at += 27 + len(lacing)
        packet = b""
        for length in lacing:
            packet += ogg[at : at + length]
            at += length
            if length < 255:
                packets.append(packet)
                packet = b""
    return packets, position


def test_an_ogg_file_is_as_long_as_the_call() -> None:
    packets, position = _packets(ogg_file(_spoken(Codec.PCM16_16K, 16_000)))
    assert packets[0][:8] == b"OpusHead"
    pre_skip = int.from_bytes(packets[0][10:12], "little")
    assert position - pre_skip == FRAMES * 960
    decoder = OpusDecoder(48_000)
    sound = b"".join(pcm for packet in packets[2:] if isinstance(pcm := decoder.decode(packet), bytes))
    mono = np.frombuffer(sound, "<i2")[pre_skip:][: FRAMES * 960]
    assert abs(_offset_ms(mono, _clicks(48_000), 48_000)) < 1.0


def test_the_checksum_of_a_page_is_that_of_the_ogg_format() -> None:
    """By the bitwise definition of RFC 3533, section 6."""
    page = next(ogg_opus([], channels=1, pre_skip=312, samples=0, serial=7))
    register = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1 ^ (0x04C11DB7 if register >> 31 else 0)) & 0xFFFFFFFF
    assert int.from_bytes(page[22:26], "little") == register


def test_reports_of_an_answer_that_no_segment_holds_change_nothing() -> None:
    timeline = _timeline([Uplink(20_000, 0, 0, Codec.PCM16_16K, b"\1\0" * 320), Playback(30_000, 4, 200)])
    assert timeline.agent.pieces == ()


SAID_AT_US = 2_100_000
"""When reports arrive: 100 ms after the caller's side sent them."""


def _answered(*reports: Playback | Event) -> Timeline:
    """Two seconds of silence of the caller, who is played an answer of one second."""
    spoken = [Uplink(20_000 * (n + 1), n, 960 * n, Codec.PCM16_16K, bytes(640)) for n in range(FRAMES)]
    answer = [Downlink(500_000, n, 960 * n, Codec.PCM16_24K, b"\1\1" * 480, 1) for n in range(50)]
    return _timeline([*spoken, *answer, *reports])


def _pieces(timeline: Timeline) -> list[tuple[int, int, int]]:
    return [(piece.start + timeline.origin, piece.begin, piece.end) for piece in timeline.agent.pieces]


def test_answer_lies_where_the_timestamps_of_reports_say_however_late_they_come() -> None:
    reports = [
        Playback(SAID_AT_US + late_us, 1, position_ms, position_ms == 1_000, timestamp=24_000 + 48 * position_ms)
        for position_ms, late_us in ((200, 80_000), (600, 0), (1_000, 200_000))
    ]
    assert _pieces(_answered(*reports)) == [(24_000, 0, 48_000)]


def test_stall_of_few_milliseconds_lies_where_it_was() -> None:
    stalled = 5 * 48
    reports = [
        Playback(SAID_AT_US, 1, position_ms, position_ms == 1_000, timestamp=24_000 + 48 * position_ms + shift)
        for position_ms, shift in ((70, 0), (270, stalled), (1_000, stalled))
    ]
    assert _pieces(_answered(*reports)) == [(24_000, 0, 70 * 48), (24_000 + 70 * 48 + stalled, 70 * 48, 48_000)]


def test_answer_that_was_cut_off_at_once_lies_where_its_only_report_says() -> None:
    cut = Event(SAID_AT_US, "interrupted", {"utterance": 1, "sequence": 3})
    report = Playback(SAID_AT_US, 1, 60, timestamp=30_000)
    spoken = _answered(cut, report)
    assert _pieces(spoken) == [(30_000 - 60 * 48, 0, 60 * 48)]


@pytest.mark.parametrize("timestamp", [1 << 61, 48_000 * 4, 0])
def test_timestamp_that_cannot_be_counts_for_nothing(timestamp: int) -> None:
    late = Playback(SAID_AT_US + 130_000_000, 1, 1_000, is_complete=True, timestamp=timestamp)
    prompt = Playback(SAID_AT_US, 1, 1_000, is_complete=True, timestamp=timestamp)
    impossible = late if timestamp == 0 else prompt
    without = Playback(impossible.at_us, 1, 1_000, is_complete=True)
    assert _pieces(_answered(impossible)) == _pieces(_answered(without))
    assert _answered(prompt).length < 48_000 * 10

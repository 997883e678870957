"""From PCM to frames and back, for every codec of the wire."""

from __future__ import annotations

import itertools

import pytest

import voicelink.audio.codec as codec_module
from tests.unit.decoded import pcm_of
from tests.unit.voicelink.audio.signals import level, tone
from voicelink.audio.codec import FrameDecoder, FrameEncoder
from voicelink.audio.codecs.opus import OpusDecoder, OpusEncoder
from voicelink.audio.frames import FRAME_TICKS
from voicelink.wire import AudioFrame, Codec, Malformed


def frames_of(codec: Codec, pcm: bytes, rate_hz: int) -> list[AudioFrame]:
    encoder = FrameEncoder(codec, rate_hz)
    made = encoder.push(pcm) + encoder.flush()
    return [AudioFrame(sequence, timestamp, codec, payload) for sequence, (timestamp, payload) in enumerate(made)]


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
def test_a_tone_survives_every_codec(codec: Codec, rate_hz: int) -> None:
    decoder = FrameDecoder(16_000)
    decoded = [decoder.decode(frame) for frame in frames_of(codec, tone(500, rate_hz, 0.5), rate_hz)]
    assert [len(pcm) for pcm in decoded if isinstance(pcm, bytes)] == [640] * 25
    assert level(pcm_of(decoded[12])) == pytest.approx(7_071, rel=0.15)


@pytest.mark.parametrize("codec", Codec)
def test_media_time_is_kept_over_silence(codec: Codec) -> None:
    speech = tone(500, 16_000, 0.4)
    frames = frames_of(codec, speech + bytes(32_000) + speech, 16_000)
    decoder = FrameDecoder(16_000)
    made = b"".join(pcm_of(decoder.decode(frame)) for frame in frames)
    assert len(made) == 2 * len(speech) + 32_000
    assert level(made[-6_400:]) > 5_000
    assert level(made[len(speech) + 12_800 : len(speech) + 25_600]) < 100


def test_dtx_leaves_out_most_of_a_silence_but_never_more_than_100_ms() -> None:
    frames = frames_of(Codec.OPUS, bytes(32_000 * 3), 16_000)
    gaps = [(b.timestamp - a.timestamp) // FRAME_TICKS for a, b in itertools.pairwise(frames)]
    assert max(gaps) == 5
    assert len(frames) < 75


def test_any_cut_of_the_input_gives_the_same_frames() -> None:
    pcm = tone(500, 24_000, 0.21)
    encoder = FrameEncoder(Codec.PCM16_16K, 24_000, timestamp=480)
    made = [frame for at in range(0, len(pcm), 250) for frame in encoder.push(pcm[at : at + 250])] + encoder.flush()
    assert [timestamp for timestamp, _ in made] == [480 + FRAME_TICKS * n for n in range(11)]
    assert all(len(payload) == 640 for _, payload in made)
    assert encoder.flush() == []


def test_a_gap_is_filled_with_at_most_two_seconds() -> None:
    decoder = FrameDecoder(16_000)
    decoder.decode(AudioFrame(0, 0, Codec.PCM16_16K, bytes(640)))
    made = decoder.decode(AudioFrame(1, 1 << 60, Codec.PCM16_16K, bytes(640)))
    assert len(pcm_of(made)) == 2 * 32_000 + 640


def test_a_timestamp_that_goes_back_adds_nothing() -> None:
    decoder = FrameDecoder(16_000)
    decoder.decode(AudioFrame(0, 9_600, Codec.PCM16_16K, bytes(640)))
    assert decoder.decode(AudioFrame(1, 0, Codec.PCM16_16K, bytes(640))) == bytes(640)


@pytest.mark.parametrize(
    ("codec", "payload"), [(Codec.PCM16_16K, b"123"), (Codec.PCM16_48K, b""), (Codec.PCMU, b""), (Codec.OPUS, b"\xff")]
)
def test_a_bad_payload_returns_what_is_wrong(codec: Codec, payload: bytes) -> None:
    assert isinstance(FrameDecoder(16_000).decode(AudioFrame(0, 0, codec, payload)), Malformed)


def test_the_codec_may_change_within_a_stream() -> None:
    decoder = FrameDecoder(24_000)
    for sequence, codec in enumerate((Codec.PCMU, Codec.OPUS, Codec.PCM16_48K, Codec.PCMA)):
        payload = frames_of(codec, tone(300, 16_000, 0.02), 16_000)[0].payload
        assert len(pcm_of(decoder.decode(AudioFrame(sequence, sequence * FRAME_TICKS, codec, payload)))) == 960


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        (Codec.PCM16_16K, 3_840),
        (Codec.PCM16_24K, 5_760),
        (Codec.PCM16_48K, 11_520),
        (Codec.PCMU, 960),
        (Codec.PCMA, 960),
    ],
)
def test_a_payload_of_more_than_120_ms_is_malformed(codec: Codec, data: int) -> None:
    """PROTOCOL section 3, as an Opus packet is at most 120 ms (RFC 6716 section 3.2.5)."""
    decoder = FrameDecoder(16_000)
    longest = decoder.decode(AudioFrame(0, 0, codec, bytes(data)))
    assert isinstance(longest, bytes)
    assert len(longest) == pytest.approx(0.12 * 32_000, abs=64)
    fault = decoder.decode(AudioFrame(1, 5_760, codec, bytes(data + 2)))
    assert isinstance(fault, Malformed)
    assert "120" in fault.reason


def test_an_opus_packet_of_120_ms_is_taken_and_a_longer_one_is_malformed() -> None:
    decoder = FrameDecoder(16_000)
    six, seven = (bytes((0x08 | 3, count)) for count in (6, 7))  # code 3: so many frames of 20 ms, all of them empty
    assert len(pcm_of(decoder.decode(AudioFrame(0, 0, Codec.OPUS, six)))) == 3_840
    assert isinstance(decoder.decode(AudioFrame(1, 5_760, Codec.OPUS, seven)), Malformed)


def test_opus_has_an_encoder_and_a_decoder_from_the_first_payload_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(codec_module, "OpusDecoder", lambda *args: made.append("decoder") or OpusDecoder(*args))
    monkeypatch.setattr(
        codec_module, "OpusEncoder", lambda *args, **more: made.append("encoder") or OpusEncoder(*args, **more)
    )
    encoder, decoder = FrameEncoder(Codec.OPUS, 16_000), FrameDecoder(16_000)
    decoder.decode(AudioFrame(0, 0, Codec.PCM16_16K, bytes(640)))
    assert encoder.push(bytes(600)) == []
    assert made == []
    [(timestamp, payload)] = encoder.push(bytes(40))
    decoder.decode(AudioFrame(1, timestamp, Codec.OPUS, payload))
    assert made == ["encoder", "decoder"]


def test_a_decoder_at_a_rate_that_opus_lacks_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="44100"):
        FrameDecoder(44_100)


def test_a_frame_that_passes_through_leaves_the_silence_before_it() -> None:
    decoder = FrameDecoder(8_000)
    assert decoder.pass_through(AudioFrame(0, 0, Codec.PCMU, bytes(160))) == b""
    assert decoder.pass_through(AudioFrame(1, 2 * FRAME_TICKS, Codec.PCMU, bytes(160))) == bytes(320)
    assert decoder.decode(AudioFrame(2, 3 * FRAME_TICKS, Codec.PCMU, b"\xff" * 160)) == bytes(320)
    assert isinstance(decoder.pass_through(AudioFrame(3, 4 * FRAME_TICKS, Codec.PCMU, bytes(1_000))), Malformed)

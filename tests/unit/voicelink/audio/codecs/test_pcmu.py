"""Mu-law that passes through, and what becomes of other codecs."""

from __future__ import annotations

import pytest

from tests.unit.decoded import pcm_of
from tests.unit.voicelink.audio.signals import level, tone
from voicelink.audio.codec import FrameDecoder
from voicelink.audio.codecs.g711 import pcmu_decode, pcmu_encode
from voicelink.audio.codecs.pcmu import PcmuDecoder, PcmuEncoder
from voicelink.audio.frames import FRAME_TICKS
from voicelink.wire import AudioFrame, Codec, Malformed

EVERY_BYTE = bytes(range(256))
OTHERS = [codec for codec in Codec if codec is not Codec.PCMU]


def test_bytes_come_out_as_they_went_in() -> None:
    decoder = PcmuDecoder()
    assert pcmu_encode(pcmu_decode(EVERY_BYTE)) != EVERY_BYTE, "a negative zero does not survive a conversion"
    assert decoder.decode(AudioFrame(0, 0, Codec.PCMU, EVERY_BYTE)) == EVERY_BYTE


def test_a_gap_is_silence_in_front_of_the_frame() -> None:
    decoder = PcmuDecoder()
    decoder.decode(AudioFrame(0, 0, Codec.PCMU, bytes(160)))
    assert decoder.decode(AudioFrame(1, 3 * FRAME_TICKS, Codec.PCMU, bytes(160))) == b"\xff" * 320 + bytes(160)


def test_an_empty_payload_returns_what_is_wrong() -> None:
    assert isinstance(PcmuDecoder().decode(AudioFrame(0, 0, Codec.PCMU, b"")), Malformed)


@pytest.mark.parametrize("cut", [1, 159, 160, 1_000])
def test_what_was_said_leaves_in_frames_of_20_ms_and_nothing_is_added(cut: int) -> None:
    said = EVERY_BYTE * 3
    encoder = PcmuEncoder(Codec.PCMU)
    made = [frame for at in range(0, len(said), cut) for frame in encoder.push(said[at : at + cut])] + encoder.flush()
    assert [timestamp for timestamp, _ in made] == [FRAME_TICKS * number for number in range(5)]
    assert [len(payload) for _, payload in made] == [160, 160, 160, 160, 128]
    assert b"".join(payload for _, payload in made) == said
    assert encoder.flush() == []


@pytest.mark.parametrize("codec", OTHERS)
def test_a_tone_survives_the_conversion_to_and_from_every_other_codec(codec: Codec) -> None:
    encoder, there, back = PcmuEncoder(codec), FrameDecoder(16_000), PcmuDecoder()
    made = encoder.push(pcmu_encode(tone(500, 8_000, 0.5))) + encoder.flush()
    frames = [AudioFrame(number, timestamp, codec, payload) for number, (timestamp, payload) in enumerate(made)]
    assert level([pcm_of(there.decode(frame)) for frame in frames][12]) == pytest.approx(7_071, rel=0.2)
    decoded = [pcm_of(back.decode(frame)) for frame in frames]
    assert [len(data) for data in decoded] == [160] * 25
    assert level(pcmu_decode(decoded[12])) == pytest.approx(7_071, rel=0.2)

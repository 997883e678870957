"""Telephone speech is recognised as such, and gets an upper band."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.decoded import pcm_of
from tests.unit.recordings import recording
from tests.unit.voicelink.audio.signals import tone
from voice_gateway.agent.cascade.bandwidth import BandwidthExtension
from voicelink.audio.codec import FrameDecoder, FrameEncoder
from voicelink.wire import AudioFrame, Codec

NAMES = ["caller", "rms_change", "slt_order", "slt_done", "awb_confirm", "espeak_place"]


def through(codec: Codec, pcm: bytes) -> bytes:
    decoder = FrameDecoder(16_000)
    frames = FrameEncoder(codec, 16_000).push(pcm)
    return b"".join(pcm_of(decoder.decode(AudioFrame(n, at, codec, data))) for n, (at, data) in enumerate(frames))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("codec", "is_narrow"), [(Codec.PCMU, True), (Codec.PCMA, True), (Codec.OPUS, False), (Codec.PCM16_48K, False)]
)
def test_half_a_second_tells_the_band(name: str, codec: Codec, is_narrow: bool) -> None:
    beginning = through(codec, recording(name))[6_400:28_800]
    assert BandwidthExtension(beginning).is_narrowband is is_narrow


def test_the_image_is_the_mirror_and_continues_over_odd_pieces() -> None:
    pcm = tone(1_000, 16_000, 0.5)
    extension = BandwidthExtension(pcm)
    assert extension.is_narrowband
    made = b"".join(extension.extend(pcm[at : at + 642]) for at in range(0, len(pcm), 642))
    power = np.abs(np.fft.rfft(np.frombuffer(made, "<i2").astype(float)))
    assert np.argsort(power)[-2:][::-1].tolist() == [500, 3_500]
    assert power[3_500] / power[500] == pytest.approx(0.2, rel=0.02)


def test_wideband_speech_is_left_alone() -> None:
    pcm = recording("caller")
    assert BandwidthExtension(pcm[:32_000]).extend(pcm) == pcm

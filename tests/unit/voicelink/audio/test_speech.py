"""The voices: sentences, cache, and what is said where one is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.unit.voicelink.audio.signals import level
from voicelink.audio import speech
from voicelink.audio.speech import SPEECH_RATE_HZ, CachedSpeech, EspeakSpeech, HibariSpeech
from voicelink.errors import MissingDependencyError


class CountingSpeech:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def synthesize(self, text: str) -> Iterator[bytes]:
        self.asked.append(text)
        yield text.encode()


def test_the_first_sentence_is_there_before_the_second_is_made() -> None:
    inner = CountingSpeech()
    chunks = CachedSpeech(inner).synthesize("What size? Small or large.")
    assert next(chunks) == b"What size?"
    assert inner.asked == ["What size?"]
    assert list(chunks) == [b"Small or large."]


def test_what_was_said_before_is_not_made_again() -> None:
    inner = CountingSpeech()
    cached = CachedSpeech(inner, max_bytes=20)
    for text in ("Hello there.", "Hello there.", "Anything else?", "Hello there."):
        assert list(cached.synthesize(text)) == [text.encode()]
    assert inner.asked == ["Hello there.", "Anything else?", "Hello there."]


def test_hibari_speaks_and_repeats_itself_exactly() -> None:
    voice = HibariSpeech()
    first = list(voice.synthesize("Hi! What can I get you?"))
    assert len(first) == 2
    assert 0.2 < len(first[1]) / 2 / SPEECH_RATE_HZ < 3
    assert level(first[1]) > 500
    assert all(level(chunk[: 2 * 24 * 60]) > 100 for chunk in first)  # it begins within 60 ms
    assert all(level(chunk[: 2 * 24 * 20]) < 100 for chunk in first)  # and is not cut into
    assert list(voice.synthesize("Hi! What can I get you?")) == first
    assert list(voice.synthesize("  ")) == []


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_espeak_speaks_at_the_same_rate() -> None:
    chunks = list(EspeakSpeech().synthesize("Hello there. How are you?"))
    assert len(chunks) == 2
    assert all(0.4 < len(chunk) / 2 / SPEECH_RATE_HZ < 2 for chunk in chunks)


def test_a_missing_program_or_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(MissingDependencyError, match="apt-get install espeak-ng"):
        EspeakSpeech()

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(speech, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"needs hibari: pip install 'voice-gateway-link\[speech\]'"):
        HibariSpeech()

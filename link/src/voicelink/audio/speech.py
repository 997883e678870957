"""Text to PCM16 at 24 kHz, a sentence at a time, so that the first is played while the next is made."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import OrderedDict
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from voicelink.errors import MissingDependencyError

SPEECH_RATE_HZ: Final = 24_000

_LEAD_S: Final = 0.03
_LEAD_AMPLITUDE: Final = 0.004
"""Under the softest consonant and over the voice's own noise."""
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")
_CACHE_BYTES: Final = 16_000_000
_ESPEAK_TIMEOUT_S: Final = 10


class Speech(Protocol):
    """A voice. Synthesis takes tens of milliseconds a sentence: call it outside the event loop's thread."""

    def synthesize(self, text: str) -> Iterator[bytes]:
        """Yield PCM16 at `SPEECH_RATE_HZ`, one chunk a sentence; nothing for a text without sound."""


class HibariSpeech:
    """The voice inside the hibari package, offline; raises `MissingDependencyError` where the package is missing.

    Not for two threads at once.
    """

    def __init__(self) -> None:
        try:
            hibari: Any = import_module("hibari")
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"speech synthesis needs {error.name}: pip install 'voice-gateway-link[speech]'"
            ) from error
        self._voice: Any = hibari.Hibari()

    def synthesize(self, text: str) -> Iterator[bytes]:
        """Yield a chunk a sentence; the same text always gives the same samples."""
        for sentence in sentences(text):
            samples = _without_lead(np.asarray(self._voice(sentence, seed=0)))
            if len(samples):
                yield (np.clip(samples, -1.0, 1.0) * 32_767).astype("<i2").tobytes()


class EspeakSpeech:
    """The espeak-ng program: robotic, speaks a hundred languages.

    Raises `MissingDependencyError` where it is not installed.
    """

    def __init__(self, voice: str = "en-us", words_per_minute: int = 165) -> None:
        program = shutil.which("espeak-ng")
        if program is None:
            raise MissingDependencyError("the espeak-ng program is not installed: apt-get install espeak-ng")
        self._command = (program, "-v", voice, "-s", str(words_per_minute), "--stdout", "--stdin")

    def synthesize(self, text: str) -> Iterator[bytes]:
        """Yield a chunk a sentence."""
        for sentence in sentences(text):
            try:
                made = subprocess.run(  # noqa: S603 - a fixed program; the text goes through its standard input
                    self._command, input=sentence.encode(), capture_output=True, check=True, timeout=_ESPEAK_TIMEOUT_S
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise MissingDependencyError(f"espeak-ng failed: {error}") from error
            if pcm := _from_22050(made.stdout[44:]):
                yield pcm


class CachedSpeech:
    """Another voice with a memory of the sentences used last, at most 16 MB (five minutes) of them."""

    def __init__(self, inner: Speech, max_bytes: int = _CACHE_BYTES) -> None:
        self._inner = inner
        self._max_bytes = max_bytes
        self._bytes = 0
        self._chunks: OrderedDict[str, bytes] = OrderedDict()

    def synthesize(self, text: str) -> Iterator[bytes]:
        """Yield a chunk a sentence, made only where it is not remembered."""
        for sentence in sentences(text):
            chunk = self._chunks.get(sentence)
            if chunk is None:
                chunk = b"".join(self._inner.synthesize(sentence))
                self._remember(sentence, chunk)
            else:
                self._chunks.move_to_end(sentence)
            if chunk:
                yield chunk

    def _remember(self, sentence: str, chunk: bytes) -> None:
        self._chunks[sentence] = chunk
        self._bytes += len(chunk)
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._chunks.popitem(last=False)[1])


def _without_lead(samples: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Cut off the silence before the first sound: the caller would wait for it."""
    loud = np.flatnonzero(np.abs(samples) > _LEAD_AMPLITUDE)
    return samples[max(0, loud[0] - round(_LEAD_S * SPEECH_RATE_HZ)) :] if len(loud) else samples


def sentences(text: str) -> list[str]:
    """Cut a text behind its full stops, question marks and exclamation marks."""
    return [part for part in _SENTENCE_END.split(text.strip()) if part]


def _from_22050(pcm: bytes) -> bytes:
    """Bring espeak-ng's rate to 24 kHz by soxr's one-shot conversion: the ratio 160/147 suits no short filter."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2")
    return bytes(np.asarray(soxr.resample(samples, 22_050, SPEECH_RATE_HZ), "<i2").tobytes()) if len(samples) else b""

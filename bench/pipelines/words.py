"""What is said in a call: words that are tones, each of its own frequency, so that those that come can be counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

VOCABULARY: Final = (
    *("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "kilo", "lima"),
    *("mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor", "whiskey"),
    *("xray", "yankee", "zulu"),
)
SAID: Final = (VOCABULARY[0:8], VOCABULARY[14:22], VOCABULARY[8:14])
"""The caller's three turns."""
SAID_WORD_S: Final = 0.3
SAID_GAP_S: Final = 0.1
INTERRUPTION: Final = ("xray", "yankee")
ANSWER: Final = VOCABULARY[:14]
LAST_ANSWER: Final = "zulu"
"""To the interruption."""
_LOWEST_HZ: Final = 500
_STEP_HZ: Final = 100
_WINDOW_S: Final = 0.04
_HOP_S: Final = 0.02
_AUDIBLE: Final = 500.0
_SHARE_NEEDED: Final = 0.5


def sound(word: str, rate_hz: int, seconds: float) -> bytes:
    """Return the word as PCM16, with edges of 10 ms."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    tone = np.sin(2 * np.pi * _frequency_hz(VOCABULARY.index(word)) * times)
    edges = np.clip(np.minimum(times, seconds - times) / 0.01, 0, 1)
    return bytes((8_000 * tone * edges).astype("<i2").tobytes())


def speech(words: Sequence[str], rate_hz: int, word_s: float, gap_s: float) -> bytes:
    """Return the words with a pause after each."""
    pause = bytes(2 * round(gap_s * rate_hz))
    return b"".join(sound(word, rate_hz, word_s) + pause for word in words)


def recognised(pcm: bytes, rate_hz: int, word_s: float) -> list[str]:
    """Return the words of which at least half is there, in the order in which they begin."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    size, hop = round(_WINDOW_S * rate_hz), round(_HOP_S * rate_hz)
    window = np.hanning(size)
    seconds: dict[str, float] = {}
    for start in range(0, len(samples) - size + 1, hop):
        piece = samples[start : start + size]
        if np.sqrt((piece**2).mean()) < _AUDIBLE:
            continue
        spectrum = np.abs(np.fft.rfft(piece * window, 4 * size))
        index = round((float(spectrum.argmax()) * rate_hz / (4 * size) - _LOWEST_HZ) / _STEP_HZ)
        if 0 <= index < len(VOCABULARY):
            word = VOCABULARY[index]
            seconds[word] = seconds.get(word, 0.0) + _HOP_S
    return [word for word, came_s in seconds.items() if came_s >= _SHARE_NEEDED * word_s]


def _frequency_hz(index: int) -> int:
    return _LOWEST_HZ + _STEP_HZ * index

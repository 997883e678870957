"""The orders, said by flite's voices, as they are captured at 16 kHz."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import soxr

from voicelink.audio.wav import parse_wav

VOICES: Final = ("awb", "rms", "slt")
ORDERS: Final = (
    "a small taro milk tea with no sugar",
    "two large matcha lattes with oat milk",
    "i would like a medium jasmine green tea with less ice",
    "can i get a large brown sugar milk tea with boba",
    "one small matcha latte with half sugar",
    "a large jasmine green tea no ice please",
    "three medium taro milk teas with grass jelly",
    "could i have a small brown sugar milk tea with soy milk",
    "a medium taro milk tea seventy five percent sugar",
    "two small jasmine green teas with boba and no sugar",
)
RATE_HZ: Final = 16_000
_SPELT: Final = {"matcha": "mahcha", "latte": "latay"}
"""Words that flite guesses wrongly."""


def spoken(voice: str, text: str) -> bytes:
    """Return the order as PCM16 at 16 kHz, in whole frames of 20 ms, with quiet before and behind it."""
    for word, spelt in _SPELT.items():
        text = text.replace(word, spelt)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        recorded = parse_wav(path.read_bytes())
    samples = soxr.resample(recorded.samples.astype(float), recorded.rate_hz, RATE_HZ)
    samples *= 2_200 / np.sqrt(np.mean(samples**2))
    quiet = np.zeros(RATE_HZ)
    whole = np.concatenate((quiet[: RATE_HZ // 2], samples, quiet, quiet))
    whole += np.random.default_rng(0).normal(0, 6, len(whole))
    pcm: bytes = np.clip(np.rint(whole), -32_768, 32_767).astype("<i2").tobytes()
    return pcm[: len(pcm) // 640 * 640]

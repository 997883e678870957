"""Signals the audio tests share."""

from __future__ import annotations

import numpy as np


def tone(frequency_hz: float, rate_hz: int, seconds: float, amplitude: float = 10_000) -> bytes:
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    return bytes(np.rint(amplitude * np.sin(2 * np.pi * frequency_hz * time)).astype("<i2"))


def level(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    return float(np.sqrt(np.mean(samples**2)))

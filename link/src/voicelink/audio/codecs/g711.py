"""G.711 mu-law and A-law as table look-ups, bit-exact with CPython's `audioop` (ITU-T G.711)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pcmu_encode(pcm: bytes) -> bytes:
    """Return one mu-law byte for every sample of PCM16."""
    return bytes(_PCMU_FROM_PCM[np.frombuffer(pcm, "<u2")])


def pcmu_decode(payload: bytes) -> bytes:
    """Return PCM16 for mu-law bytes."""
    return bytes(_PCM_FROM_PCMU[np.frombuffer(payload, np.uint8)])


def pcma_encode(pcm: bytes) -> bytes:
    """Return one A-law byte for every sample of PCM16."""
    return bytes(_PCMA_FROM_PCM[np.frombuffer(pcm, "<u2")])


def pcma_decode(payload: bytes) -> bytes:
    """Return PCM16 for A-law bytes."""
    return bytes(_PCM_FROM_PCMA[np.frombuffer(payload, np.uint8)])


def _samples() -> NDArray[np.int32]:
    """All PCM16 values, placed where their unsigned pattern indexes them."""
    return np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)


def _pcmu_encoding() -> NDArray[np.uint8]:
    value = _samples() >> 2
    mask = np.where(value < 0, 0x7F, 0xFF)
    magnitude = np.minimum(np.abs(value), 8159) + 33
    segment = np.searchsorted([0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF, 0x1FFF], magnitude)
    code = np.where(segment >= 8, 0x7F, segment << 4 | (magnitude >> (segment + 1)) & 0x0F)
    return (code ^ mask).astype(np.uint8)


def _pcmu_decoding() -> NDArray[np.int16]:
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype("<i2")


def _pcma_encoding() -> NDArray[np.uint8]:
    value = _samples() >> 3
    mask = np.where(value < 0, 0x55, 0xD5)
    magnitude = np.where(value < 0, -value - 1, value)
    segment = np.searchsorted([0x1F, 0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF], magnitude)
    shift = np.where(segment < 2, 1, segment)
    code = np.where(segment >= 8, 0x7F, segment << 4 | (magnitude >> shift) & 0x0F)
    return (code ^ mask).astype(np.uint8)


def _pcma_decoding() -> NDArray[np.int16]:
    code = np.arange(256) ^ 0x55
    segment = (code & 0x70) >> 4
    mantissa = (code & 0x0F) << 4
    magnitude = np.where(segment == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype("<i2")


_PCMU_FROM_PCM = _pcmu_encoding()
_PCM_FROM_PCMU = _pcmu_decoding()
_PCMA_FROM_PCM = _pcma_encoding()
_PCM_FROM_PCMA = _pcma_decoding()

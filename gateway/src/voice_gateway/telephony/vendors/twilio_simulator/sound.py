"""WAV files as a telephone hears them, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr

from voice_gateway.errors import ConfigurationError
from voicelink.audio.codecs.g711 import pcmu_decode, pcmu_encode
from voicelink.audio.wav import WavError, parse_wav, wav_header

_RATE_HZ = 8_000


def read_telephone_wav(path: Path) -> bytes:
    """Return a WAV file of any rate, width and number of channels in mu-law at 8 kHz; raises `ConfigurationError`."""
    try:
        sound = parse_wav(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except WavError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    samples = soxr.resample(sound.samples * np.float32(32_768), sound.rate_hz, _RATE_HZ)
    return pcmu_encode(np.clip(np.round(samples), -32_768, 32_767).astype("<i2").tobytes())


def telephone_wav(payload: bytes) -> bytes:
    """Return mu-law at 8 kHz as a WAV file of PCM16."""
    pcm = pcmu_decode(payload)
    return wav_header(_RATE_HZ, len(pcm)) + pcm

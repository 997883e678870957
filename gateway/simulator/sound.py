"""WAV files as a telephone hears them, and back."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import soxr

from gateway.audio.g711 import pcmu_decode, pcmu_encode
from gateway.errors import ConfigurationError

_RATE_HZ = 8_000


def read_telephone_wav(path: Path) -> bytes:
    """Return a PCM16 file of any rate and number of channels in mu-law at 8 kHz; raises `ConfigurationError`."""
    try:
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2:
                raise ConfigurationError(f"{path}: holds {8 * file.getsampwidth()} bits a sample, must be 16")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
            rate_hz = file.getframerate()
    except OSError as error:
        raise ConfigurationError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (wave.Error, EOFError) as error:
        raise ConfigurationError(f"{path}: no WAV file: {error}") from None
    mono = samples.astype(np.float32).mean(axis=1)
    heard = soxr.resample(mono, rate_hz, _RATE_HZ)
    return pcmu_encode(np.clip(np.round(heard), -32_768, 32_767).astype("<i2").tobytes())


def telephone_wav(payload: bytes) -> bytes:
    """Return mu-law at 8 kHz as a WAV file of PCM16."""
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE_HZ)
        file.writeframes(pcmu_decode(payload))
    return made.getvalue()

"""What callers say as PCM16 at 16 kHz: synthetic voices and WAV files, made once a process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import soxr

from voice_eval.call.record import CALLER_HZ
from voice_eval.errors import EvalError
from voice_eval.scenario.model import Say
from voicelink.audio.speech import SPEECH_RATE_HZ, EspeakSpeech, HibariSpeech, Speech
from voicelink.audio.wav import WavError, parse_wav
from voicelink.errors import MissingDependencyError

_LOUDNESS: Final = 2_200
_FRAME_SAMPLES: Final = CALLER_HZ // 50


def spoken(step: Say, folder: Path) -> bytes:
    """Return what a step says, whole frames of 20 ms, without quiet around it; raises `EvalError`."""
    if step.wav is not None:
        return _file(folder / step.wav)
    return _synthetic(step.voice or "hibari", step.say or "")


@lru_cache(512)
def _synthetic(voice: str, text: str) -> bytes:
    try:
        pcm = b"".join(_voice(voice).synthesize(text))
    except MissingDependencyError as error:
        raise EvalError(f"voice {voice}: {error}") from None
    if not pcm:
        raise EvalError(f"voice {voice}: the text {text!r} has no sound: write words")
    return _frames(np.frombuffer(pcm, "<i2").astype(np.float64), SPEECH_RATE_HZ)


@lru_cache(8)
def _voice(name: str) -> Speech:
    kind, _, voice = name.partition(":")
    return HibariSpeech() if kind == "hibari" else EspeakSpeech(voice or "en-us")


@lru_cache(128)
def _file(path: Path) -> bytes:
    try:
        sound = parse_wav(path.read_bytes())
    except OSError as error:
        raise EvalError(f"{path}: {(error.strerror or str(error)).lower()}: give a WAV file") from None
    except WavError as error:
        raise EvalError(f"{path}: {error}") from None
    return _frames(np.asarray(sound.samples, np.float64) * 32_768, sound.rate_hz, is_levelled=False)


def _frames(
    samples: np.ndarray[tuple[int, ...], np.dtype[np.float64]], rate_hz: int, is_levelled: bool = True
) -> bytes:
    converted = soxr.resample(samples, rate_hz, CALLER_HZ)
    if is_levelled and (level := float(np.sqrt(np.mean(converted**2)))) > 0:
        converted = converted * (_LOUDNESS / level)
    whole = np.concatenate((converted, np.zeros(-len(converted) % _FRAME_SAMPLES)))
    return bytes(np.clip(np.rint(whole), -32_768, 32_767).astype("<i2").tobytes())

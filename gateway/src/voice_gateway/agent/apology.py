"""What a caller hears where the agent fails: a recording, a sentence of the offline voice, or three tones."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from voice_gateway.agent.base import AudioFormat
from voice_gateway.errors import AgentError
from voicelink.audio.codecs.g711 import pcmu_encode
from voicelink.audio.resample import Resampler
from voicelink.audio.speech import SPEECH_RATE_HZ, HibariSpeech
from voicelink.audio.wav import WavError, parse_wav
from voicelink.errors import MissingDependencyError

_TONE_HZ, _TONE_S, _TONES, _AMPLITUDE = 480, 0.25, 3, 6_000
_SETTLING_S: Final = 0.1
SORRY: Final = "Sorry, something went wrong. Please call again."
_log = structlog.get_logger("voice_gateway.agent")


@dataclass(frozen=True, slots=True)
class Apology:
    """A text and its audio, in the agent's format; without audio it is silence."""

    text: str = ""
    audio: bytes = b""


async def offline_apology(text: str, rate_hz: int) -> Apology:
    """Return it in PCM16, by the offline voice; empty is silence.

    The first call takes seconds: have it made before there is a call.
    """
    return await asyncio.to_thread(_offline, text, rate_hz) if text else Apology()


@functools.cache
def _offline(text: str, rate_hz: int) -> Apology:
    return _made(text, None, AudioFormat.PCM16, rate_hz)


async def make_apology(text: str, wav: Path | None, audio_format: AudioFormat, rate_hz: int) -> Apology:
    """Make it before there is a call. Raises `AgentError` for a recording that cannot be read.

    Without the offline voice (extra `agent`) it is three tones, and a warning is logged.
    """
    return await asyncio.to_thread(_made, text, wav, audio_format, rate_hz)


def _made(text: str, wav: Path | None, audio_format: AudioFormat, rate_hz: int) -> Apology:
    if wav is not None:
        try:
            sound = parse_wav(wav.read_bytes())
        except (OSError, WavError) as error:
            raise AgentError(f"agent.settings.apology_wav: {error}") from error
        pcm, pcm_rate_hz = (np.clip(sound.samples, -1, 1) * 32_767).astype("<i2").tobytes(), sound.rate_hz
    else:
        try:
            pcm, pcm_rate_hz = b"".join(HibariSpeech().synthesize(text)), SPEECH_RATE_HZ
        except MissingDependencyError:
            _log.warning("apology_is_a_tone", remedy="pip install 'voice-gateway[agent]' or set apology_wav")
            pcm, pcm_rate_hz = _tones(), SPEECH_RATE_HZ
    if pcm_rate_hz != rate_hz:
        resampler = Resampler(pcm_rate_hz, rate_hz)
        pcm = resampler.push(pcm + bytes(2 * round(_SETTLING_S * pcm_rate_hz)))
    return Apology(text, pcmu_encode(pcm) if audio_format is AudioFormat.PCMU else pcm)


def _tones() -> bytes:
    times = np.arange(round(_TONE_S * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    tone = (_AMPLITUDE * np.sin(2 * np.pi * _TONE_HZ * times)).astype("<i2").tobytes()
    return (tone + bytes(len(tone))) * _TONES

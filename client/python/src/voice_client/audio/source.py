"""Where the caller's speech comes from (a file, a text, samples in memory), and the pace at which it is spoken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import numpy as np
import soxr

from voice_client.errors import SourceError
from voicelink.audio.frames import frame_samples
from voicelink.audio.speech import SPEECH_RATE_HZ, HibariSpeech
from voicelink.audio.wav import Sound, WavError, parse_wav

RATE_HZ = 16_000
FRAME_BYTES = 2 * frame_samples(RATE_HZ)


class Source(Protocol):
    """Speech as PCM16 mono at 16 kHz.

    A live source yields each piece when it is spoken; of any other, `VoiceClient.speak` sets the pace.
    """

    is_live: bool

    def frames(self) -> AsyncIterator[bytes]:
        """Yield the speech in pieces of 20 ms."""


class PcmSource:
    """PCM16 mono at 16 kHz that is already there."""

    is_live = False

    def __init__(self, pcm: bytes) -> None:
        if len(pcm) % 2:
            raise SourceError(f"PCM16 comes in whole samples of 2 bytes, got {len(pcm)} bytes")
        self.pcm = pcm

    @property
    def duration_s(self) -> float:
        """How long it lasts."""
        return len(self.pcm) / 2 / RATE_HZ

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield the speech in pieces of 20 ms; the last may be shorter."""
        for offset in range(0, len(self.pcm), FRAME_BYTES):
            yield self.pcm[offset : offset + FRAME_BYTES]


def open_wav(path: str | Path) -> PcmSource:
    """Read a WAV file of any rate, width and number of channels."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        return from_sound(parse_wav(data))
    except WavError as error:
        raise SourceError(f"cannot use {path}: {error}") from None


def from_sound(sound: Sound) -> PcmSource:
    """Resample to what the voice protocol wants."""
    samples = sound.samples
    if sound.rate_hz != RATE_HZ:
        samples = soxr.resample(samples, sound.rate_hz, RATE_HZ)
    return PcmSource((samples.clip(-1.0, 1.0) * 32767).round().astype("<i2").tobytes())


def spoken(text: str) -> PcmSource:
    """Say `text` with the synthetic voice of the extra `agent`; takes a moment, and blocks."""
    try:
        pcm = b"".join(HibariSpeech().synthesize(text))
    except Exception as error:  # any error of the synthesiser means that there is no speech
        raise SourceError(f"cannot say the text: {error}") from error
    if not pcm:
        raise SourceError("there is no text to say")
    return from_sound(Sound((np.frombuffer(pcm, "<i2") / 32768).astype(np.float32), SPEECH_RATE_HZ))


class Pace:
    """Releases one piece of speech after the other at the moment it is due, without drift.

    A late piece does not delay the next ones: they are released at once until the pace is caught up.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due_at = self._loop.time()

    async def wait(self, duration_s: float) -> None:
        """Wait until a piece that lasts `duration_s` has been spoken."""
        self._due_at += duration_s
        await asyncio.sleep(max(0.0, self._due_at - self._loop.time()))

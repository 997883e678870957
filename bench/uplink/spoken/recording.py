"""The recording that a caller says: spoken orders one after the other, each in frames of its own."""

from __future__ import annotations

import functools
from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from bench.words.orders import ORDERS, RATE_HZ, VOICES, spoken
from bench.words.paths import opus_frames
from voicelink.audio.frames import FRAME_TICKS, frame_samples
from voicelink.audio.wav import wav_header
from voicelink.wire import AudioFrame

FRAME_BYTES: Final = 2 * frame_samples(RATE_HZ)
_QUIET_CUT_FRAMES: Final = 75
"""Of the 2 s behind an order; each is heard as a call of its own, whose end tells that nothing follows."""
_ORDERS_A_SEED: Final = 13


@dataclass(frozen=True, slots=True)
class Passage:
    """One order in a recording; `start` is the number of the recording's frame with which it begins.

    `frames` are Opus of the client's encoder, numbered from 0; their timestamps count from the order's beginning.
    """

    text: str
    start: int
    pcm: bytes
    frames: tuple[AudioFrame, ...]

    @property
    def length(self) -> int:
        """In frames of 20 ms, those included that silence leaves out."""
        return len(self.pcm) // FRAME_BYTES

    def arrived(self, numbers: Container[int]) -> tuple[AudioFrame, ...]:
        """Its frames, where of the recording's frames those with these numbers arrived."""
        return tuple(each for each in self.frames if self.start + each.timestamp // FRAME_TICKS in numbers)


def recording(seed: int, frame_count: int) -> list[Passage]:
    """As many whole orders as this number of frames has room for: three voices in turn, other orders for each seed."""
    passages: list[Passage] = []
    start, number = 0, (seed - 1) * _ORDERS_A_SEED
    while True:
        passage = _passage(VOICES[number % len(VOICES)], ORDERS[number % len(ORDERS)], start)
        if start + passage.length > frame_count:
            return passages
        passages.append(passage)
        start, number = start + passage.length, number + 1


def as_wav(passages: list[Passage]) -> bytes:
    """The recording as a WAV file of 16 kHz."""
    pcm = b"".join(each.pcm for each in passages)
    return wav_header(RATE_HZ, len(pcm)) + pcm


def _passage(voice: str, text: str, start: int) -> Passage:
    pcm, frames = _said(voice, text)
    return Passage(text, start, pcm, frames)


@functools.cache
def _said(voice: str, text: str) -> tuple[bytes, tuple[AudioFrame, ...]]:
    pcm = spoken(voice, text)[: -_QUIET_CUT_FRAMES * FRAME_BYTES]
    return pcm, tuple(opus_frames(pcm))

"""What local vendors are made of: ears that know recordings, a model with rules, and a voice of tones."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.unit.recordings import recording
from voice_gateway.agent.cascade.parts import OnWords, Utterance
from voicelink.audio.resample import Resampler

RECORDING_HZ = 16_000
SENTENCES = {
    "slt_order": "Can I have a brown sugar milk tea with half sugar and grass jelly?",
    "slt_remove": "Remove the matcha latte.",
    "slt_total": "What's the total?",
    "slt_done": "That's all.",
    "rms_two_drinks": "I'd like two small jasmine green teas with no ice and boba.",
}
_WINDOW_MS = 20
_LOUD = 500.0


@dataclass(frozen=True, slots=True)
class Say:
    """The model says this."""

    text: str


@dataclass(frozen=True, slots=True)
class CallTool:
    """The model calls a tool with these arguments, JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What the model knows: a line of the caller (`user`), of its own (`assistant`), or a tool's result (`tool`)."""

    role: str
    text: str


Brain = Callable[[Sequence[Entry]], Say | CallTool]


def echo_brain(known: Sequence[Entry]) -> Say | CallTool:
    """Repeat the caller's words."""
    words = [each.text for each in known if each.role == "user"]
    return Say(f"You said: {words[-1]}" if words else "Hello, what can I get you?")


def shop_brain(known: Sequence[Entry]) -> Say | CallTool:
    """Order what the caller says, then say what was ordered."""
    last = known[-1]
    if last.role == "tool":
        return Say(f"Your order is {last.text}.")
    words = [each.text for each in known if each.role == "user"]
    if words and words[-1] == SENTENCES["slt_order"]:
        return CallTool("add_item", json.dumps({"item": "brown sugar milk tea"}))
    return Say(f"You said {words[-1]}" if words else "Hello.")


def loudness_over_time(pcm: bytes, rate_hz: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Loudness each 20 ms, of the part with sound."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    size = rate_hz * _WINDOW_MS // 1000
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    loudness = np.sqrt((frames**2).mean(axis=1))
    loud = np.flatnonzero(loudness > _LOUD)
    return loudness[loud[0] : loud[-1] + 1] if len(loud) else loudness[:0]


class Ears:
    """Transcribes what is most like one of the recordings, by its loudness; all else is `noise`."""

    def __init__(self, noise: str = "something") -> None:
        self._noise = noise
        self._known = {name: loudness_over_time(recording(name), RECORDING_HZ) for name in SENTENCES}

    def transcribe(self, pcm: bytes, rate_hz: int) -> str:
        given = loudness_over_time(pcm, rate_hz)
        likeness = {name: _likeness(known, given) for name, known in self._known.items()}
        best = max(likeness, key=lambda name: likeness[name])
        return SENTENCES[best] if likeness[best] > 0.8 else self._noise


class EarsRecogniser:
    """Knows the recordings: takes little of the processor, for many calls at the same time."""

    def __init__(self) -> None:
        self._ears = Ears()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def begin(self, on_words: OnWords) -> Utterance:
        return _Utterance(self._ears, on_words)


class _Utterance:
    def __init__(self, ears: Ears, on_words: OnWords) -> None:
        self._ears = ears
        self._on_words = on_words
        self._pcm = bytearray()

    def feed(self, pcm: bytes) -> None:
        self._pcm += pcm

    def end(self) -> None:
        self._on_words(tuple(self._ears.transcribe(bytes(self._pcm), RECORDING_HZ).split()), True)

    def abandon(self) -> None: ...


def _likeness(
    known: np.ndarray[tuple[int], np.dtype[np.float64]], given: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> float:
    if len(given) < 10 or not 0.8 < len(given) / len(known) < 1.25:
        return 0.0
    best = 0.0
    for shift in range(-10, 11):
        length = min(len(known), len(given) - shift) if shift >= 0 else min(len(known) + shift, len(given))
        first, second = (known, given[shift:]) if shift >= 0 else (known[-shift:], given)
        if length > 10 and second[:length].std() > 1:
            best = max(best, float(np.corrcoef(first[:length], second[:length])[0, 1]))
    return best


def voice(text: str, rate_hz: int, ms_per_character: int = 50) -> bytes:
    """A tone as long as speech of this text."""
    times = np.arange(rate_hz * ms_per_character * len(text) // 1000) / rate_hz
    return bytes((3_000 * np.sin(2 * math.pi * 300 * times)).astype("<i2").tobytes())


def at_rate(pcm: bytes, rate_hz: int) -> bytes:
    """A recording at another rate."""
    return pcm if rate_hz == RECORDING_HZ else Resampler(RECORDING_HZ, rate_hz).push(pcm)


@dataclass(slots=True)
class Activity:
    """Voice activity of a vendor: speech begins with 100 ms of sound, and ends after `silence_ms`."""

    rate_hz: int
    silence_ms: int = 500
    position_ms: float = 0.0
    is_speaking: bool = False
    _loud_ms: float = 0.0
    _quiet_ms: float = 0.0

    def hear(self, pcm: bytes) -> bool | None:
        """Take audio; return whether speech began (True) or ended (False) with it."""
        duration_ms = len(pcm) / 2 / self.rate_hz * 1000
        self.position_ms += duration_ms
        samples = np.frombuffer(pcm, "<i2").astype(np.float64)
        is_loud = bool(len(samples)) and float(np.sqrt((samples**2).mean())) > _LOUD
        self._loud_ms = self._loud_ms + duration_ms if is_loud else 0.0
        self._quiet_ms = 0.0 if is_loud else self._quiet_ms + duration_ms
        if not self.is_speaking and self._loud_ms >= 100:
            self.is_speaking = True
            return True
        if self.is_speaking and self._quiet_ms >= self.silence_ms:
            self.is_speaking = False
            return False
        return None

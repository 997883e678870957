"""What happened in a call, on one clock that begins with it: verdicts are made from this alone. Sans-IO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CALLER_HZ: Final = 16_000
FRAME_S: Final = 0.02
_LOUD: Final = 300
"""Samples louder than this are sound: above the noise of a telephone codec, below the softest word."""


@dataclass(slots=True)
class Track:
    """PCM16 mono with the time of each piece; what lies between pieces is silence."""

    rate_hz: int
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    def add(self, at_s: float, pcm: bytes) -> None:
        """Append a piece that begins then, at the earliest where the last one ends."""
        if self.pieces:
            last_s, last = self.pieces[-1]
            at_s = max(at_s, last_s + len(last) / 2 / self.rate_hz)
        self.pieces.append((at_s, pcm))

    def samples(self) -> NDArray[np.int16]:
        """The whole track from time 0."""
        if not self.pieces:
            return np.zeros(0, np.int16)
        last_s, last = self.pieces[-1]
        whole = np.zeros(round(last_s * self.rate_hz) + len(last) // 2 + 1, np.int16)
        for at_s, pcm in self.pieces:
            begin = round(at_s * self.rate_hz)
            piece = np.frombuffer(pcm, "<i2")
            whole[begin : begin + len(piece)] = piece
        return whole

    def sounds(self, joined_s: float = 0.05) -> list[tuple[float, float]]:
        """Where there is a piece, loud or not: (begin, end), those less than `joined_s` apart as one."""
        found: list[tuple[float, float]] = []
        for at_s, pcm in self.pieces:
            end_s = at_s + len(pcm) / 2 / self.rate_hz
            if found and at_s - found[-1][1] < joined_s:
                found[-1] = (found[-1][0], end_s)
            else:
                found.append((at_s, end_s))
        return found

    def loud_from(self, at_s: float) -> float | None:
        """When the first sound at or after this time is."""
        for begin_s, pcm in self.pieces:
            if begin_s + len(pcm) / 2 / self.rate_hz > at_s:
                loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) > _LOUD)
                times = begin_s + loud / self.rate_hz
                after = times[times >= at_s]
                if len(after):
                    return float(after[0])
        return None


@dataclass(frozen=True, slots=True)
class Utterance:
    """The caller spoke, from the first to the last sound; `words` where they are known."""

    begin_s: float
    end_s: float
    words: str | None
    is_barge_in: bool = False


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """A line of the transcript as the server reports it; `role` is `user` or `agent`."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the agent called, as the caller sees it."""

    at_s: float
    call_id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened to the call: `outage` (with an end), `fault`, `reconnected`, `new address`."""

    at_s: float
    kind: str
    text: str = ""
    end_s: float | None = None


@dataclass(slots=True)
class CallRecord:
    """Filled while the call lasts."""

    said: Track = field(default_factory=lambda: Track(CALLER_HZ))
    played_audio: Track = field(default_factory=lambda: Track(24_000))
    utterances: list[Utterance] = field(default_factory=list)
    lines: list[TranscriptLine] | None = None
    """`None` where the driver gets no transcript."""
    state: Mapping[str, Any] | None = None
    """`None` where the driver gets no state."""
    tools: list[ToolCall] | None = None
    """`None` where the driver sees no tools."""
    marks: list[Mark] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    """How late each 20 ms of the caller's own clock were: what is above some 10 ms is the load of this machine."""
    error: str | None = None
    duration_s: float = 0.0

    def text_of(self, role: str) -> str | None:
        """All that one side said, `None` where there is no transcript."""
        return None if self.lines is None else " ".join(line.text for line in self.lines if line.role == role)

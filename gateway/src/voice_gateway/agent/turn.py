"""Turn taking: when the caller begins to speak, pauses, and has finished.

    quiet ──voice──► rising ──enough voice──► speaking ◄──voice/no voice──► pausing ──enough silence──► quiet

Only media time counts. A path that stalls or migrates delivers no frames, so it can never end a turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final

import msgspec

from voice_gateway.agent.base import UserAudio


@dataclass(frozen=True, slots=True)
class TurnTiming:
    """When a turn begins and ends.

    `patience_ms` is the pause that ends a turn (default 650; 500 cuts slow speakers off, 900 feels slow),
    `unfinished_patience_ms` the one where the caller seems not to be finished, and `finished_patience_ms` the one where
    the turn sounds over. `onset_ms` of voice make a turn; with less, coughs would interrupt the agent. `preroll_ms`
    before the onset belong to the turn.
    """

    onset_probability: float = 0.5
    voice_probability: float = 0.35
    onset_ms: int = 100
    preroll_ms: int = 400
    patience_ms: int = 650
    unfinished_patience_ms: int = 1_400
    finished_patience_ms: int = 250
    max_turn_ms: int = 45_000
    silence_report_ms: int = 500


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The caller speaks, from the frame `sequence` on, with voice from `onset` on; `pcm` is all of it so far."""

    sequence: int
    pcm: bytes
    onset: int


class TurnContinued(msgspec.Struct, frozen=True, gc=False):
    """More of the turn."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn is over, and all frames up to `through_sequence` belong to it or to the time before.

    `voice_sequence` is the last one with voice.
    """

    through_sequence: int
    voice_sequence: int


@dataclass(frozen=True, slots=True)
class NothingPending:
    """No turn can begin at or before `through_sequence` any more."""

    through_sequence: int


TurnEvent = TurnStarted | TurnContinued | TurnEnded | NothingPending


class Phase(IntEnum):
    """Where a turn stands; it has begun from `SPEAKING` on."""

    QUIET = auto()
    RISING = auto()
    SPEAKING = auto()
    PAUSING = auto()


class Signal(IntEnum):
    """What a frame, together with those before it, says."""

    VOICE = auto()
    NO_VOICE = auto()
    ENOUGH_VOICE = auto()
    ENOUGH_SILENCE = auto()
    ENOUGH_TURN = auto()


class Action(Enum):
    """What to do with the frame."""

    KEEP = auto()
    BEGIN = auto()
    CONTINUE = auto()
    END = auto()


TRANSITIONS: Final[Mapping[tuple[Phase, Signal], tuple[Phase, Action]]] = {
    (Phase.QUIET, Signal.VOICE): (Phase.RISING, Action.KEEP),
    (Phase.QUIET, Signal.NO_VOICE): (Phase.QUIET, Action.KEEP),
    (Phase.QUIET, Signal.ENOUGH_VOICE): (Phase.SPEAKING, Action.BEGIN),
    (Phase.RISING, Signal.VOICE): (Phase.RISING, Action.KEEP),
    (Phase.RISING, Signal.NO_VOICE): (Phase.QUIET, Action.KEEP),
    (Phase.RISING, Signal.ENOUGH_VOICE): (Phase.SPEAKING, Action.BEGIN),
    (Phase.SPEAKING, Signal.VOICE): (Phase.SPEAKING, Action.CONTINUE),
    (Phase.SPEAKING, Signal.NO_VOICE): (Phase.PAUSING, Action.CONTINUE),
    (Phase.SPEAKING, Signal.ENOUGH_SILENCE): (Phase.QUIET, Action.END),
    (Phase.SPEAKING, Signal.ENOUGH_TURN): (Phase.QUIET, Action.END),
    (Phase.PAUSING, Signal.VOICE): (Phase.SPEAKING, Action.CONTINUE),
    (Phase.PAUSING, Signal.NO_VOICE): (Phase.PAUSING, Action.CONTINUE),
    (Phase.PAUSING, Signal.ENOUGH_SILENCE): (Phase.QUIET, Action.END),
    (Phase.PAUSING, Signal.ENOUGH_TURN): (Phase.QUIET, Action.END),
}


_CONTINUE, _KEEP = Action.CONTINUE, Action.KEEP  # looking up an enum's member takes as long as a call


class TurnTaker:
    """Gives every frame its place in a turn. Frames hold `sample_bytes` a sample.

    Two may be asked whether the caller is finished: `sounds_over` is what a model says of the present pause, and ends
    with it; `is_whole` is what the words of the turn so far say. `None` is no opinion.
    """

    def __init__(self, rate_hz: int, timing: TurnTiming | None = None, *, sample_bytes: int = 2) -> None:
        self.is_whole: bool | None = None
        self.sounds_over: bool | None = None
        self.phase = Phase.QUIET
        self._timing = timing or TurnTiming()
        self._bytes_per_ms = rate_hz * sample_bytes // 1000
        self._preroll: list[UserAudio] = []
        self._preroll_ms = 0.0
        self._voice_ms = 0.0
        self._silence_ms = 0.0
        self._turn_ms = 0.0
        self._unreported_ms = 0.0
        self._last_sequence: int | None = None
        self._onset = 0
        self._voice_sequence = 0

    def hear(self, audio: UserAudio, probability: float) -> list[TurnEvent]:
        """Take the next frame and how likely it is speech; return what follows from it."""
        self._last_sequence = audio.sequence
        signal = self._signal(len(audio.pcm) / self._bytes_per_ms, probability, audio.sequence)
        self.phase, action = TRANSITIONS[self.phase, signal]
        if action is _CONTINUE:
            return [TurnContinued(audio.pcm)]
        if action is _KEEP:
            return self._keep(audio)
        return [self._begin(audio)] if action is Action.BEGIN else [TurnContinued(audio.pcm), self._end(audio.sequence)]

    @property
    def pause_ms(self) -> float:
        """How long the caller has paused within the turn."""
        return self._silence_ms if self.phase is Phase.PAUSING else 0.0

    def finish(self) -> list[TurnEvent]:
        """End what is pending, because no frame follows."""
        if self._last_sequence is None:
            return []
        if self.phase in (Phase.SPEAKING, Phase.PAUSING):
            self.phase = Phase.QUIET
            return [self._end(self._last_sequence)]
        self._forget_preroll()
        return [NothingPending(self._last_sequence)]

    def _signal(self, duration_ms: float, probability: float, sequence: int) -> Signal:
        is_in_turn = self.phase >= Phase.SPEAKING
        threshold = self._timing.voice_probability if is_in_turn else self._timing.onset_probability
        is_voice = probability >= threshold
        if is_voice:
            self._voice_sequence = sequence
            self.sounds_over = None
            if not self._voice_ms:
                self._onset = sequence
        self._voice_ms = self._voice_ms + duration_ms if is_voice else 0.0
        self._silence_ms = 0.0 if is_voice else self._silence_ms + duration_ms
        self._turn_ms += duration_ms
        if not is_in_turn:
            if is_voice and self._voice_ms >= self._timing.onset_ms:
                return Signal.ENOUGH_VOICE
        elif self._turn_ms >= self._timing.max_turn_ms:
            return Signal.ENOUGH_TURN
        elif self._silence_ms >= self._patience_ms:
            return Signal.ENOUGH_SILENCE
        return Signal.VOICE if is_voice else Signal.NO_VOICE

    @property
    def _patience_ms(self) -> int:
        if {self.sounds_over, self.is_whole} == {True, False}:
            return self._timing.patience_ms
        if self.sounds_over:
            return self._timing.finished_patience_ms
        if self.sounds_over is False or self.is_whole is False:
            return self._timing.unfinished_patience_ms
        return self._timing.patience_ms

    def _begin(self, audio: UserAudio) -> TurnStarted:
        self._preroll.append(audio)
        begun = TurnStarted(self._preroll[0].sequence, b"".join(frame.pcm for frame in self._preroll), self._onset)
        self._turn_ms = len(begun.pcm) / self._bytes_per_ms
        self._forget_preroll()
        return begun

    def _keep(self, audio: UserAudio) -> list[TurnEvent]:
        duration_ms = len(audio.pcm) / self._bytes_per_ms
        self._preroll.append(audio)
        self._preroll_ms += duration_ms
        dropped: int | None = None
        while self._preroll_ms > self._timing.preroll_ms and len(self._preroll) > 1:
            oldest = self._preroll.pop(0)
            self._preroll_ms -= len(oldest.pcm) / self._bytes_per_ms
            dropped = oldest.sequence
        self._unreported_ms += duration_ms
        if dropped is None or self._unreported_ms < self._timing.silence_report_ms:
            return []
        self._unreported_ms = 0.0
        return [NothingPending(dropped)]

    def _end(self, sequence: int) -> TurnEnded:
        self.is_whole = self.sounds_over = None
        self._forget_preroll()
        return TurnEnded(sequence, self._voice_sequence)

    def _forget_preroll(self) -> None:
        self._preroll.clear()
        self._preroll_ms = self._voice_ms = self._silence_ms = self._unreported_ms = 0.0

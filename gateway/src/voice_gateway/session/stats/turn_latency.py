"""Where the time of each turn goes, sans-IO: from the caller's last word to the answer's first sound.

What lies between two events at the worker is measured here. What begins or ends at the caller is measured there, on
one clock as well, and reported with `measured`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from voice_gateway.session.stats.arrivals import Arrivals
from voicelink.wire import Latency, Measured

_KEPT_TURNS: Final = 32
_MOVE_S: Final = 2.0
"""How far back a change of path looks for the gap that it made."""


class Figure(StrEnum):
    """What is measured in each turn; TTFB, processing and user-bot latency mean what they mean to Pipecat."""

    UPLINK_AGE = "uplink_age"
    """Caller: from the end of the last frame with voice at the microphone to its arrival at the worker."""
    ENDPOINTING = "endpointing"
    """From the arrival of that frame to the decision that the turn is over."""
    STT_TTFB = "stt_ttfb"
    """From there to the final words."""
    LLM_TTFB = "llm_ttfb"
    """From there to the first words of the answer."""
    TTS_TTFB = "tts_ttfb"
    """From there to its first audio."""
    TTS_PROCESSING = "tts_processing"
    """From the first words of the answer to the last of its audio."""
    USER_BOT_LATENCY = "user_bot_latency"
    """Caller: from the end of the last frame with voice to the answer's first audible sample."""
    PLAYOUT = "playout"
    """Caller: from the arrival of the answer's first audio to its first audible sample."""
    INTERRUPTION = "interruption"
    """From the arrival of the first frame that interrupts the agent to the flush."""
    BARGE_IN = "barge_in"
    """Caller: from the first word that interrupts the agent to its silence."""
    MIGRATION_GAP = "migration_gap"
    """The longest wait for a frame around a change of the caller's address."""
    RESUME_GAP = "resume_gap"
    """Caller: from the last sign of life of a lost connection until the session went on."""


@dataclass(slots=True)
class TurnLatency:
    """The figures of one turn in ms, by the name of their `Figure`; those that are not known are missing.

    `at` is when its words were final, or its answer began where the caller said none, on the session's clock.
    """

    turn: int
    utterance_id: int | None = None
    frames_replayed: int = 0
    was_interrupted: bool = False
    at: float | None = None
    figures: dict[Figure, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain maps and numbers."""
        document = asdict(self)
        del document["at"]
        document["generation"] = self.utterance_id  # its name before
        figures = document.pop("figures") or {}
        return document | {f"{figure.value}_ms": round(value, 1) for figure, value in figures.items()}


class TurnLatencies:
    """Measures the turns of a session: each method is an event and its time; `observe` takes each figure in seconds."""

    def __init__(self, arrivals: Arrivals, observe: Callable[[Figure, float], None]) -> None:
        self._arrivals = arrivals
        self._observe = observe
        self._turns: OrderedDict[int, TurnLatency] = OrderedDict()
        self._stops: list[_Stop] = []
        self._answered: _Stop | None = None
        self._understood_at: float | None = None
        self._replied_at: float | None = None
        self._speaking: TurnLatency | None = None
        self._has_sound = False
        self._newest_over = -1

    def recent(self) -> tuple[TurnLatency, ...]:
        """The last 32 turns, oldest first."""
        return tuple(self._turns.values())

    def completed_turns(self) -> list[TurnLatency]:
        """Return the turns there have been, each once; call it when a new one begins, and at the end."""
        over = [latency for turn, latency in self._turns.items() if turn > self._newest_over]
        self._newest_over = max((latency.turn for latency in over), default=self._newest_over)
        return over

    def stopped(self, sequence: int, now: float) -> None:
        """The caller's turn was taken as over; `sequence` is its last frame with voice."""
        arrival = self._arrivals.of(sequence)
        if arrival is None:
            self._stops.append(_Stop(sequence, now, None, None))
        else:
            self._stops.append(_Stop(sequence, now, now - arrival.at, arrival.queueing_ms))

    def understood(self, turn: int, through_sequence: int | None, now: float) -> None:
        """The words of that turn are final."""
        self._understood_at, self._answered = now, None
        while self._stops and through_sequence is not None and self._stops[0].sequence <= through_sequence:
            self._answered = self._stops.pop(0)
        stop, latency = self._answered, self._turn(turn)
        latency.at = now
        if stop is not None:
            if stop.endpointing_s is not None:
                self._note(latency, Figure.ENDPOINTING, stop.endpointing_s)
            self._note(latency, Figure.STT_TTFB, now - stop.at)

    def replied(self, turn: int, utterance_id: int, now: float) -> None:
        """The agent begins to answer, or to greet."""
        latency = self._speaking = self._turn(turn)
        latency.utterance_id = utterance_id
        latency.at = now if latency.at is None else latency.at
        self._replied_at, self._has_sound = now, False
        if self._understood_at is not None:
            self._note(latency, Figure.LLM_TTFB, now - self._understood_at)

    def first_audio(self, now: float) -> Latency | None:
        """Audio of the answer was made; with the first of an answer to the caller, return what to tell it."""
        latency = self._speaking
        if latency is None or latency.utterance_id is None or self._replied_at is None or self._has_sound:
            return None
        self._has_sound = True
        self._note(latency, Figure.TTS_TTFB, now - self._replied_at)
        if self._understood_at is None:
            return None
        stop, self._answered, self._understood_at = self._answered, None, None
        figures = latency.figures or {}
        return Latency(
            turn=latency.turn,
            utterance_id=latency.utterance_id,
            sequence=None if stop is None else stop.sequence,
            uplink_ms=None if stop is None or stop.queueing_ms is None else round(stop.queueing_ms, 1),
            endpointing_ms=_rounded(figures.get(Figure.ENDPOINTING)),
            stt_ms=_rounded(figures.get(Figure.STT_TTFB)),
            llm_ms=_rounded(figures.get(Figure.LLM_TTFB)),
            tts_ms=_rounded(figures.get(Figure.TTS_TTFB)),
        )

    def renumbered(self, former_id: int, utterance_id: int) -> None:
        """The answer `former_id`, of which no audio was sent, goes on as `utterance_id`."""
        if self._speaking is not None and self._speaking.utterance_id == former_id and not self._has_sound:
            self._speaking.utterance_id = utterance_id

    def reply_ended(self, now: float) -> None:
        """All audio of the answer was made."""
        if self._speaking is not None and self._replied_at is not None:
            self._note(self._speaking, Figure.TTS_PROCESSING, now - self._replied_at)
        self._speaking = self._replied_at = None

    def interrupted(self, turn: int, onset: int | None, now: float) -> None:
        """The caller speaks over the answer to `turn`, from frame `onset` on."""
        arrival = None if onset is None else self._arrivals.of(onset)
        self._speaking = self._replied_at = None
        latency = self._turn(turn)
        latency.was_interrupted = True
        if arrival is not None:
            self._note(latency, Figure.INTERRUPTION, now - arrival.at)

    def migrated(self, turn: int, now: float) -> float:
        """The caller's address changed; return the gap that it made, in seconds."""
        gap_s = self._arrivals.largest_gap_s(now - _MOVE_S)
        self._note(self._turn(turn), Figure.MIGRATION_GAP, gap_s)
        return gap_s

    def measured(self, measured: Measured, newest_turn: int, frames_replayed: int, longest_ms: float) -> None:
        """Take what the caller's side measured, with as many replayed frames as the session believes.

        A report about a turn that has not begun, or is no longer kept, is ignored; so is a figure above `longest_ms`.
        """
        if not newest_turn - _KEPT_TURNS < measured.turn <= newest_turn:
            return
        latency = self._turn(measured.turn)
        latency.frames_replayed += frames_replayed
        for figure, value_ms in (
            (Figure.USER_BOT_LATENCY, measured.response_ms),
            (Figure.UPLINK_AGE, measured.uplink_age_ms),
            (Figure.PLAYOUT, measured.playout_ms),
            (Figure.BARGE_IN, measured.barge_in_ms),
            (Figure.RESUME_GAP, measured.resume_gap_ms),
        ):
            if value_ms is not None and value_ms <= longest_ms:
                self._note(latency, figure, value_ms / 1000)

    def _turn(self, turn: int) -> TurnLatency:
        if turn not in self._turns:
            self._turns[turn] = TurnLatency(turn)
            if len(self._turns) > _KEPT_TURNS:
                self._turns.popitem(last=False)
        return self._turns[turn]

    def _note(self, latency: TurnLatency, figure: Figure, value_s: float) -> None:
        if latency.figures is None:
            latency.figures = {}
        latency.figures[figure] = value_s * 1000
        self._observe(figure, value_s)


@dataclass(frozen=True, slots=True)
class _Stop:
    """The end of a turn: its last frame with voice, when it was noticed, and how late that frame came."""

    sequence: int
    at: float
    endpointing_s: float | None
    queueing_ms: float | None


def _rounded(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 1)

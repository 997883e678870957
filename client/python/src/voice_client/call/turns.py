"""How long each turn took and where the time went, on the caller's clock alone. Sans-IO."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import TypeVar

from voicelink.wire import Latency, Measured

BUDGET_MS = {"response": 800.0, "uplink_age": 40.0, "stt": 300.0, "llm": 400.0, "tts": 150.0}
"""What people take as a fluent conversation; the parts overlap where an agent streams."""

_V = TypeVar("_V", int, float)

_KEPT_FRAMES = 1_024
_KEPT_UTTERANCES = 64
_KEPT_TURNS = 1_000
_RTT_WINDOW_S = 30.0


@dataclass(frozen=True, slots=True)
class TurnLatency:
    """The figures of a turn in ms; `None` where one is not known, or did not happen.

    `response_ms`, from the last word to the answer's first audible sample, is the sum of `uplink_age_ms`,
    `endpointing_ms`, `stt_ms`, `llm_ms`, `tts_ms`, `downlink_ms` and `playout_ms`. `downlink_ms` is what the others
    leave of it, 0 at least: it takes up their errors, a few ms each. `migration_gap_ms` and `resume_gap_ms` are the
    worst of the turn.
    """

    turn: int
    response_ms: float | None = None
    uplink_age_ms: float | None = None
    endpointing_ms: float | None = None
    stt_ms: float | None = None
    llm_ms: float | None = None
    tts_ms: float | None = None
    downlink_ms: float | None = None
    playout_ms: float | None = None
    barge_in_ms: float | None = None
    migration_gap_ms: float | None = None
    resume_gap_ms: float | None = None
    frames_replayed: int = 0


class Turns:
    """Takes each event with its time; a `Measured` that a method returns is to be sent to the server."""

    def __init__(self) -> None:
        self._turns: OrderedDict[int, TurnLatency] = OrderedDict()
        self._captured: deque[tuple[int, float]] = deque(maxlen=_KEPT_FRAMES)
        self._rtts: deque[tuple[float, float]] = deque()
        self._latency: Latency | None = None
        self._arrived: dict[int, float] = {}
        self._audible: dict[int, float] = {}
        self._turn_of: dict[int, int] = {}

    @property
    def latencies(self) -> tuple[TurnLatency, ...]:
        """What is known so far, a turn after the other."""
        return tuple(self._turns[turn] for turn in sorted(self._turns))

    def captured(self, sequence: int, now: float) -> None:
        """All samples of an uplink frame are there."""
        self._captured.append((sequence, now))

    def round_trip(self, rtt_ms: float, now: float) -> None:
        """A round trip was measured."""
        while self._rtts and (self._rtts[0][0] < now - _RTT_WINDOW_S):
            self._rtts.popleft()
        while self._rtts and self._rtts[-1][1] >= rtt_ms:
            self._rtts.pop()
        self._rtts.append((now, rtt_ms))

    def announced(self, utterance_id: int, turn: int) -> None:
        """An answer to `turn` begins."""
        _keep(self._turn_of, utterance_id, turn)

    def arrived(self, utterance_id: int, now: float) -> None:
        """The first audio of an answer has arrived."""
        if utterance_id not in self._arrived:
            _keep(self._arrived, utterance_id, now)

    def audible(self, utterance_id: int, at: float) -> Measured | None:
        """The first audible sample of an answer leaves the loudspeaker."""
        if utterance_id in self._audible:
            return None
        _keep(self._audible, utterance_id, at)
        return self._answered()

    def latency_received(self, latency: Latency) -> Measured | None:
        """The server reports its parts of a turn's latency."""
        self._latency = latency
        return self._answered()

    def flushed(self, utterance_id: int, onset: int | None, at: float) -> Measured | None:
        """The loudspeaker fell silent because the caller had begun to speak with frame `onset`."""
        captured_at = None if onset is None else self._captured_at(onset)
        turn = self._turn_of.get(utterance_id)
        if captured_at is None or turn is None:
            return None
        barge_in_ms = _ms(at - captured_at)
        self._turns[turn] = replace(self.of(turn), barge_in_ms=barge_in_ms)
        return Measured(turn=turn, barge_in_ms=barge_in_ms)

    def migrated(self, turn: int, gap_ms: float) -> None:
        """The call moved to another path."""
        latency = self.of(turn)
        self._turns[turn] = replace(latency, migration_gap_ms=max(gap_ms, latency.migration_gap_ms or 0.0))

    def resumed(self, turn: int, gap_ms: float, frames_replayed: int) -> Measured:
        """The call went on over another connection, where so many frames were sent again."""
        latency = self.of(turn)
        self._turns[turn] = replace(
            latency,
            resume_gap_ms=max(gap_ms, latency.resume_gap_ms or 0.0),
            frames_replayed=latency.frames_replayed + frames_replayed,
        )
        return Measured(turn=turn, resume_gap_ms=_ms(gap_ms / 1000), frames_replayed=frames_replayed)

    def _answered(self) -> Measured | None:
        """Join the server's parts and the first audible sample of the same answer, in either order."""
        latency = self._latency
        if latency is None or latency.utterance_id not in self._audible:
            return None
        self._latency = None
        audible_at = self._audible[latency.utterance_id]
        arrived_at = self._arrived.get(latency.utterance_id, audible_at)
        captured_at = None if latency.sequence is None else self._captured_at(latency.sequence)
        response_ms = None if captured_at is None else _ms(audible_at - captured_at)
        playout_ms = _ms(audible_at - arrived_at)
        uplink_age_ms = None
        if latency.uplink_ms is not None and self._rtts:
            uplink_age_ms = round(self._rtts[0][1] / 2 + latency.uplink_ms, 1)
        parts = (uplink_age_ms, latency.endpointing_ms, latency.stt_ms, latency.llm_ms, latency.tts_ms, playout_ms)
        known = [part for part in parts if part is not None]
        has_all = response_ms is not None and len(known) == len(parts)
        self._turns[latency.turn] = replace(
            self.of(latency.turn),
            response_ms=response_ms,
            uplink_age_ms=uplink_age_ms,
            endpointing_ms=latency.endpointing_ms,
            stt_ms=latency.stt_ms,
            llm_ms=latency.llm_ms,
            tts_ms=latency.tts_ms,
            downlink_ms=round(max(0.0, response_ms - sum(known)), 1) if has_all and response_ms is not None else None,
            playout_ms=playout_ms,
        )
        return Measured(turn=latency.turn, response_ms=response_ms, uplink_age_ms=uplink_age_ms, playout_ms=playout_ms)

    def of(self, turn: int) -> TurnLatency:
        """What is known of a turn."""
        if turn not in self._turns and len(self._turns) >= _KEPT_TURNS:
            self._turns.popitem(last=False)
        return self._turns.get(turn) or TurnLatency(turn)

    def _captured_at(self, sequence: int) -> float | None:
        return next((at for number, at in reversed(self._captured) if number == sequence), None)


def _keep(kept: dict[int, _V], utterance_id: int, value: _V) -> None:
    """Set it, and forget the oldest beyond 64."""
    kept[utterance_id] = value
    if len(kept) > _KEPT_UTTERANCES:
        del kept[next(iter(kept))]


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 1)

"""What of each answer was played at the caller, and when on the caller's media clock. Sans-IO.

`played` says how much, and when by its timestamp. Where a client sends none, the time at which a report was sent says
when. Such a report can only be late, so those that follow tell how late one was: what all later reports of an answer
agree on is an interruption of its playback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from voice_gateway.recording.reading.caller_track import frame_ticks
from voicelink.wire import CLOCK_HZ, AudioFrame

STALL_TICKS: Final = CLOCK_HZ * 30 // 1000
"""A pause in the playback of an answer that is shorter than this is unevenness of the reports."""
_LONG_STALL_TICKS: Final = CLOCK_HZ * 300 // 1000
"""The same where fewer than `_WITNESSES` reports say so: one packet that was lost makes those late."""
_WITNESSES: Final = 3
_EXACT_STALL_TICKS: Final = CLOCK_HZ // 1000
"""The same where the reports have timestamps, whose ticks come from clocks that drift by a little."""
_CHUNK_TICKS: Final = CLOCK_HZ * 20 // 1000
_LONGEST_HANDOVER_TICKS: Final = CLOCK_HZ
_TICKS_PER_MS: Final = CLOCK_HZ // 1000


@dataclass(frozen=True, slots=True)
class Report:
    """At `tick` of the media clock `position` ticks of an answer had been played.

    What the caller's side says as it stops an answer (`is_final`) counts what is just being played, so that it does not
    tell when the answer began, unless it `is_exact`: the report itself says at which tick.
    """

    tick: int
    position: int
    is_final: bool = False
    is_complete: bool = False
    is_exact: bool = False

    @property
    def tells_when(self) -> bool:
        """Whether the answer's beginning follows from it."""
        return self.position > 0 and (self.is_exact or not self.is_final)


@dataclass(slots=True)
class Answer:
    """One utterance: its `frames`, what the caller reported, and how it ended.

    `sent` is where the media clock stood when its first frame was sent. `is_again`: it goes on with the one before it.
    `is_whole`: the caller has played all of it. `is_held`: its connection was lost before that, and the caller may have
    less of it than was sent.
    """

    utterance_id: int
    sent: int
    turn: int | None = None
    is_again: bool = False
    is_interrupted: bool = False
    is_whole: bool = False
    is_held: bool = False
    frames: list[AudioFrame] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    @property
    def steady(self) -> list[Report]:
        """The reports that tell when it was played: those that are exact, where there are any."""
        telling = [report for report in self.reports if report.tells_when]
        return [report for report in telling if report.is_exact] or telling

    @property
    def is_exact(self) -> bool:
        """Whether the caller's side said when it was played."""
        return any(report.is_exact and report.tells_when for report in self.reports)

    @property
    def length(self) -> int:
        """How many ticks of it there are."""
        return max((frame.timestamp + frame_ticks(frame.codec, frame.payload) for frame in self.frames), default=0)


@dataclass(frozen=True, slots=True)
class PlayedPiece:
    """From tick `start` of the media clock on, the ticks `begin` to `end` of an answer were played."""

    utterance_id: int
    start: int
    begin: int
    end: int

    @property
    def stop(self) -> int:
        """The tick of the media clock at which it ended."""
        return self.start + self.end - self.begin


@dataclass(frozen=True, slots=True)
class MissingAnswer:
    """The caller played more of an answer than any segment holds: the ticks `begin` to `end` of it."""

    utterance_id: int
    start: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class AgentTrack:
    """What was played, in order, without overlap."""

    pieces: tuple[PlayedPiece, ...]
    missing: tuple[MissingAnswer, ...]

    @property
    def end(self) -> int:
        return max((piece.stop for piece in self.pieces), default=0)


def place_answers(answers: Mapping[int, Answer]) -> AgentTrack:
    """Lay out what was played of each answer; a loudspeaker plays one after the other."""
    lag = _lag(answers)
    playbacks = [_Playback.of(answers[utterance_id], lag) for utterance_id in sorted(answers)]
    held: _Playback | None = None
    for playback in playbacks:
        if held is not None and playback.answer.is_again:
            playback.continues = held
            _join(held, playback)
        held = playback if playback.answer.is_held else held
    pieces: list[PlayedPiece] = []
    missing: list[MissingAnswer] = []
    free: int | None = None
    """Where the loudspeaker is free again, `None` before the first answer."""
    for playback in playbacks:
        playback.follow()
        answer, shift = playback.answer, 0
        for anchor, begin, end in playback.stretches:
            start = anchor + begin + shift
            if free is not None and start < free:
                if answer.is_again:  # its beginning was played as the end of the one before it
                    begin, start = begin + free - start, free
                else:
                    start, shift = free, shift + free - start
            if begin >= end:
                continue
            recorded = max(begin, min(end, answer.length))
            if begin < recorded:
                pieces.append(PlayedPiece(answer.utterance_id, start, begin, recorded))
            if recorded < end:
                missing.append(MissingAnswer(answer.utterance_id, start + recorded - begin, recorded, end))
            free = start + end - begin
        playback.shift_last(shift)
    return AgentTrack(tuple(pieces), tuple(missing))


@dataclass(slots=True)
class _Playback:
    """When an answer was played: stretches of (where its tick 0 would lie, first tick, end), together all of it.

    `is_steady`: reports from within its playback say so, not only those of its end. `continues`: the answer that it is
    the rest of, said again.
    """

    answer: Answer
    stretches: list[tuple[int, int, int]]
    is_steady: bool
    continues: _Playback | None = None

    @classmethod
    def of(cls, answer: Answer, lag: int) -> _Playback:
        played = max((report.position for report in answer.reports), default=0)
        if answer.is_whole:
            played = max(played, answer.length)
        if not played:
            return cls(answer, [], is_steady=False)
        steady = answer.steady
        if steady:
            is_steady = answer.is_exact or not all(report.is_complete for report in steady)
            return cls(answer, _stretches(answer, steady, played), is_steady)
        anchor = answer.sent + lag
        final = [report.tick - report.position for report in answer.reports if report.position]
        if final:  # which count up to a chunk that was just being played
            anchor = min(max(anchor, min(final)), min(final) + _CHUNK_TICKS)
        return cls(answer, [(anchor, 0, played)], is_steady=False)

    @property
    def continued(self) -> int | None:
        """Where tick 0 of its rest would lie: what was played by the time the caller came back is not said again."""
        positions = [report.position for report in self.answer.reports if report.is_final]
        return self.stretches[-1][0] + positions[-1] if self.stretches and positions else None

    def follow(self) -> None:
        """Where nothing from within its playback says when that was, it went on where what it `continues` has ended."""
        continued = None if self.continues is None or self.is_steady else self.continues.continued
        if continued is not None and self.stretches:
            self.move(continued, _LONGEST_HANDOVER_TICKS)

    def move(self, anchor: int, most: int) -> None:
        """Take its tick 0 to be there, if that is what the reports can mean, too."""
        known, begin, end = self.stretches[0]
        if abs(anchor - known) <= most:
            self.stretches[0] = (anchor, begin, end)

    def shift_last(self, ticks: int) -> None:
        """Move its last stretch, if any."""
        for anchor, begin, end in self.stretches[-1:]:
            self.stretches[-1] = (anchor + ticks, begin, end)


def _lag(answers: Mapping[int, Answer]) -> int:
    """How long after it was sent an answer begins where the loudspeaker is idle: a round trip."""
    lags = [
        steady[0].tick - steady[0].position - answer.sent
        for answer in answers.values()
        if not answer.is_again and (steady := answer.steady)
    ]
    return max(0, min(lags, default=0))


def _join(held: _Playback, again: _Playback) -> None:
    """Where an answer goes on as another one without a pause, what is known of one tells about the other."""
    continued = held.continued
    if continued is None or not again.stretches or not again.is_steady:
        return
    if held.answer.is_exact and again.answer.is_exact:
        return
    if held.is_steady:  # of the two the earlier one is less late
        both = min(continued, again.stretches[0][0])
        if continued - both <= STALL_TICKS:
            again.move(both, STALL_TICKS)
            if again.stretches[0][0] == both:
                held.shift_last(both - continued)
    else:
        held.move(again.stretches[0][0] - (continued - held.stretches[-1][0]), STALL_TICKS)


def _stretches(answer: Answer, reports: Sequence[Report], played: int) -> list[tuple[int, int, int]]:
    anchors = [report.tick - report.position for report in reports]
    agreed = anchors if answer.is_exact else _agreed(anchors)
    # an answer is not played before it was sent, unless its beginning was played as another one
    anchor, begin = agreed[0] if answer.is_again or answer.is_exact else max(agreed[0], answer.sent), 0
    stretches = []
    for index, (later, before) in enumerate(zip(agreed[1:], reports, strict=False), 1):
        witnesses = len(reports) - index
        least = STALL_TICKS if witnesses >= _WITNESSES else _LONG_STALL_TICKS
        if answer.is_exact:
            least = _EXACT_STALL_TICKS
        if later - anchor >= least and before.position > begin:
            stretches.append((anchor, begin, before.position))
            anchor, begin = later, before.position
    return [*stretches, (anchor, begin, max(begin, played))]


def _agreed(anchors: Sequence[int]) -> list[int]:
    """Of each report and all that follow it, the earliest."""
    earliest = list(anchors)
    for index in range(len(earliest) - 2, -1, -1):
        earliest[index] = min(earliest[index], earliest[index + 1])
    return earliest


def position_ticks(position_ms: int) -> int:
    """Return ticks for the milliseconds of a report."""
    return position_ms * _TICKS_PER_MS

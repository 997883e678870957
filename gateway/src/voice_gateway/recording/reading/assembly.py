"""From the segments of all workers that had a call to its one timeline, on the caller's media clock. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from voice_gateway.recording.reading.agent_track import AgentTrack, Answer, Report, place_answers, position_ticks
from voice_gateway.recording.reading.caller_track import CallerTrack, WrittenFrame, place_frames
from voice_gateway.recording.reading.media_clock import Arrived, MediaClock
from voice_gateway.recording.segments.format import (
    AUDIO_SUFFIX,
    EVENTS_SUFFIX,
    WORDS_SUFFIX,
    Downlink,
    Event,
    Head,
    Hole,
    Playback,
    Record,
    Uplink,
    Words,
    parse,
)
from voicelink.wire import CLOCK_HZ

INCIDENTS: Final = frozenset({"migrated", "detached", "resumed", "taken_over", "draining", "left"})
"""The kinds of events that are changes of the network and of the worker."""
_TICKS_PER_US: Final = CLOCK_HZ / 1e6
_LATEST_REPORT_TICKS: Final = 120 * CLOCK_HZ
_MOST_AHEAD_TICKS: Final = CLOCK_HZ
"""A loudspeaker may be as far behind as a second."""


@dataclass(frozen=True, slots=True)
class SegmentRecords:
    """What one worker wrote of a call; `is_cut` where a file ends in an unfinished block, as of a killed worker."""

    head: Head
    records: tuple[Record, ...]
    is_cut: bool = False

    def of(self, *kinds: type[Record]) -> Iterator[Any]:
        """Yield the records of these kinds, in order."""
        return (record for record in self.records if isinstance(record, kinds))


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """Something happened at `tick` of the timeline, `wall_s` seconds since 1970 by the worker's clock."""

    tick: int
    wall_s: float
    worker: str
    kind: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A call: two tracks, and what happened. All ticks count from `origin` of the caller's media clock.

    `began_s` is when the first worker began, in seconds since 1970; `has_media_clock` is false where no audio was kept,
    and ticks are those of the workers' clocks.
    """

    heads: tuple[Head, ...]
    origin: int
    length: int
    caller: CallerTrack
    agent: AgentTrack
    answers: Mapping[int, Answer]
    events: tuple[TimedEvent, ...]
    words: tuple[TimedEvent, ...]
    has_media_clock: bool
    cause: str | None = None
    """Why something is missing: what the workers' disks refused, or a worker that ended before it had written it."""

    @property
    def began_s(self) -> float:
        return self.heads[0].wall_us / 1e6


def read_segments(files: Mapping[str, bytes]) -> list[SegmentRecords]:
    """Parse the files of a call, by name; those that are none of a segment, or have no head, are left out."""
    stems: dict[str, dict[str, bytes]] = {}
    for name, data in files.items():
        stem, dot, suffix = name.rpartition(".")
        if f"{dot}{suffix}" in _SUFFIXES:
            stems.setdefault(stem, {})[f"{dot}{suffix}"] = data
    segments = []
    for stem in sorted(stems):
        parsed = [parse(stems[stem][suffix]) for suffix in _SUFFIXES if suffix in stems[stem]]
        records = list(chain.from_iterable(each.records for each in parsed))
        heads = [record for record in records if isinstance(record, Head)]
        if heads:
            is_cut = any(each.lost_bytes for each in parsed)
            rest = tuple(record for record in records if not isinstance(record, Head))
            segments.append(SegmentRecords(heads[0], rest, is_cut))
    return segments


def assemble(segments: Sequence[SegmentRecords]) -> Timeline:
    """Join the segments of one call, at least one, in the order in which they began."""
    ordered = sorted(segments, key=lambda segment: (segment.head.wall_us, segment.head.epoch))
    acked = max((event.facts["sequence"] for event in _events(ordered, "acked")), default=None)
    written = [
        WrittenFrame(record, segment.head.epoch, segment.head.wall_us + record.at_us)
        for segment in ordered
        for record in segment.of(Uplink)
    ]
    has_audio = any(segment.head.has_audio for segment in ordered)
    caller = place_frames(written, acked if has_audio and written else None)
    clocks = _Clocks(ordered, caller)
    answers = _answers(ordered, clocks)
    agent = place_answers(answers)
    starts = [track[0].start for track in (caller.frames, agent.pieces) if track]
    origin = min(starts, default=0)
    events = sorted(_timed(ordered, clocks, Event, origin), key=lambda event: event.tick)
    words = sorted(_timed(ordered, clocks, Words, origin), key=lambda event: event.tick)
    last = max((event.tick for event in events), default=0)
    end = max(caller.end, agent.end, *(gap.end for gap in caller.missing)) if starts else origin + last
    return Timeline(
        tuple(segment.head for segment in ordered),
        origin,
        end - origin,
        caller,
        agent,
        answers,
        tuple(events),
        tuple(words),
        clocks.is_media,
        _cause(ordered),
    )


class _Clocks:
    """The media clock as each worker saw it; one that saw no frames takes that of the next one, by the time of day."""

    def __init__(self, segments: Sequence[SegmentRecords], caller: CallerTrack) -> None:
        ends = {placed.frame.sequence: placed.end for placed in caller.frames}
        clocks = [
            MediaClock(Arrived(record.at_us, ends[record.sequence]) for record in segment.of(Uplink))
            for segment in segments
        ]
        self.is_media = any(clock.is_known for clock in clocks)
        self._began_us = segments[0].head.wall_us
        self._own = {
            id(segment): (clock, segment.head.wall_us)
            for segment, clock in zip(segments, clocks, strict=True)
            if clock.is_known
        }

    def tick(self, segment: SegmentRecords, at_us: int) -> int:
        wall_us = segment.head.wall_us + at_us
        if not self._own:
            return round((wall_us - self._began_us) * _TICKS_PER_US)
        own = self._own.get(id(segment))
        if own is None:
            own = min(self._own.values(), key=lambda each: abs(each[1] - segment.head.wall_us))
        clock, clock_wall_us = own
        return clock.tick(wall_us - clock_wall_us)

    def reported(self, segment: SegmentRecords, report: Playback) -> tuple[int, bool]:
        """Return where the media clock stood at a report, and whether that is exact: the caller's side said so.

        What it says counts only where it can be: a report may come late, and be of what is just being played.
        """
        arrived, said = self.tick(segment, report.at_us), report.timestamp
        if said is None or not self.is_media or not -_LATEST_REPORT_TICKS <= said - arrived <= _MOST_AHEAD_TICKS:
            return arrived, False
        return said, True


def _answers(segments: Sequence[SegmentRecords], clocks: _Clocks) -> dict[int, Answer]:
    answers: dict[int, Answer] = {}
    for segment in segments:
        own: dict[int, Answer] = {}
        for record in segment.of(Downlink):
            answer = own.get(record.utterance_id)
            if answer is None:
                sent = clocks.tick(segment, record.at_us)
                answer = own[record.utterance_id] = Answer(record.utterance_id, sent)
            answer.frames.append(record.frame())
        answers |= own
    cut: dict[int, int] = {}
    for segment in segments:
        for record in segment.of(Event, Playback):
            if isinstance(record, Event):
                _follow(record, answers, clocks.tick(segment, record.at_us))
            elif (answer := answers.get(record.utterance_id)) is not None:
                position = position_ticks(record.position_ms)
                tick, is_exact = clocks.reported(segment, record)
                if answer.is_interrupted and not (record.is_resume or record.is_complete):
                    cut[answer.utterance_id] = len(answer.reports)
                answer.reports.append(Report(tick, position, record.is_resume, record.is_complete, is_exact))
                answer.is_whole |= record.is_complete and not answer.is_held
    for utterance_id, last in cut.items():  # those before it were on their way as the interruption was said
        reports = answers[utterance_id].reports
        reports[last] = replace(reports[last], is_final=True)
    return answers


def _follow(event: Event, answers: Mapping[int, Answer], tick: int) -> None:
    match event.kind:
        case "speech" if (answer := answers.get(event.facts["utterance"])) is not None:
            answer.turn, answer.is_again = event.facts["turn"], event.facts["is_again"]
        case "interrupted":
            for answer in answers.values():
                answer.is_interrupted |= answer.utterance_id <= event.facts["utterance"] and not answer.is_whole
        case "resumed":
            for answer in (each for each in answers.values() if each.sent < tick):
                if answer.utterance_id >= event.facts["next"]:
                    answer.is_held = True
                elif not (answer.is_interrupted or answer.is_held):
                    answer.is_whole = True


def _cause(segments: Sequence[SegmentRecords]) -> str | None:
    holes: list[str] = [hole.cause for segment in segments for hole in segment.of(Hole)]
    if holes:
        return holes[0]
    return "worker_lost" if len(segments) > 1 or any(segment.is_cut for segment in segments) else None


def _events(segments: Iterable[SegmentRecords], kind: str) -> Iterator[Event]:
    return (event for segment in segments for event in segment.of(Event) if event.kind == kind)


def _timed(
    segments: Sequence[SegmentRecords], clocks: _Clocks, kind: type[Event] | type[Words], origin: int
) -> Iterator[TimedEvent]:
    for segment in segments:
        for record in segment.of(kind):
            tick = max(0, clocks.tick(segment, record.at_us) - origin)
            wall_s = (segment.head.wall_us + record.at_us) / 1e6
            yield TimedEvent(tick, wall_s, segment.head.worker, record.kind, record.facts)


_SUFFIXES: Final = (EVENTS_SUFFIX, AUDIO_SUFFIX, WORDS_SUFFIX)

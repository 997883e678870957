"""The recorded calls: found, read, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from voice_gateway.errors import GatewayError
from voice_gateway.recording.library.archive import Archive
from voice_gateway.recording.reading.assembly import INCIDENTS, SegmentRecords, Timeline, assemble, read_segments
from voice_gateway.recording.segments.format import (
    AUDIO_SUFFIX,
    EVENTS_SUFFIX,
    WORDS_SUFFIX,
    Event,
    NewerRecording,
    is_call_name,
    stem_began,
)

_DAY_S: Final = 86_400.0


class UnknownCall(GatewayError):  # noqa: N818 - it says what is wrong
    """There is no recording of this call."""


@dataclass(frozen=True, slots=True)
class CallSummary:
    """A call in one line; times are in seconds since 1970. `code` is `None` while it goes on, or where its worker died.

    `incidents` counts the events that are `INCIDENTS`.
    """

    session_id: str
    began_s: float
    last_s: float
    agent: str
    subject: str | None
    transport: str
    workers: tuple[str, ...]
    turns: int
    incidents: int
    code: str | None
    has_audio: bool
    has_words: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "session": self.session_id,
            "began": round(self.began_s, 3),
            "duration_s": round(self.last_s - self.began_s, 3),
            "agent": self.agent,
            "subject": self.subject,
            "transport": self.transport,
            "workers": list(self.workers),
            "turns": self.turns,
            "incidents": self.incidents,
            "code": self.code,
            "has_audio": self.has_audio,
            "has_words": self.has_words,
        }


@dataclass(frozen=True, slots=True)
class Retention:
    """How long calls, and their sound, are kept, in seconds."""

    calls_s: float
    audio_s: float

    @classmethod
    def of_days(cls, calls: float, audio: float | None) -> Retention:
        """Keep both for so many days; sound as long as the call where `audio` is `None`."""
        return cls(calls * _DAY_S, (calls if audio is None else audio) * _DAY_S)


class Library:
    """All calls in an archive. Methods may block, and raise `GatewayError`."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def summaries(self, *, subject: str | None = None, most: int | None = None) -> list[CallSummary]:
        """Return the calls, newest first; those of one subject, `most` of them; those in a newer format not."""
        found: list[CallSummary] = []
        for call, _ in sorted(self._begun(), key=lambda each: each[1], reverse=True):
            summary = self._summary(call)
            if summary is not None and subject in (None, summary.subject):
                found.append(summary)
            if most is not None and len(found) >= most:
                break
        return found

    def timeline(self, session_id: str) -> Timeline:
        """Read and assemble a call; raises `UnknownCall` and `NewerRecording`."""
        segments = self._segments(session_id, (EVENTS_SUFFIX, AUDIO_SUFFIX, WORDS_SUFFIX))
        if not segments:
            raise UnknownCall(f"there is no recording of the call {session_id!r}")
        return assemble(segments)

    def full_id(self, beginning: str) -> str:
        """Return the one session ID that begins so; raises `UnknownCall` for none or several."""
        found = [call for call in self._archive.calls() if call.startswith(beginning)] if beginning else []
        if beginning in found:
            return beginning
        if len(found) != 1:
            raise UnknownCall(f"{len(found) or 'no'} recorded calls begin with {beginning!r}, there must be one")
        return found[0]

    def delete(self, session_id: str) -> None:
        """Delete all that there is of a call."""
        if is_call_name(session_id):
            self._archive.delete(session_id)

    def delete_subject(self, subject: str) -> list[str]:
        """Delete all calls of a subject, and return their session IDs."""
        calls = [each.session_id for each in self.summaries(subject=subject)]
        for call in calls:
            self._archive.delete(call)
        return calls

    def withdraw(self, session_id: str) -> None:
        """Delete what there is of a call's sound and words."""
        names = [name for name in self._archive.names(session_id) if name.endswith((AUDIO_SUFFIX, WORDS_SUFFIX))]
        self._archive.delete(session_id, names)

    def sweep(self, now: float, retention: Retention) -> int:
        """Delete what is older, and return how many files that were; a call goes on until its last segment is old."""
        deleted = 0
        for call in self._archive.calls():
            names = self._archive.names(call)
            began = [at for name in names if (at := stem_began(name)) is not None]
            if began and now - max(began) > retention.calls_s:
                self._archive.delete(call)
                deleted += len(names)
                continue
            old = [name for name in names if _is_old_sound(name, now - retention.audio_s)]
            if old:
                self._archive.delete(call, old)
                deleted += len(old)
        return deleted

    def _begun(self) -> Iterator[tuple[str, float]]:
        for call in self._archive.calls():
            began = [at for name in self._archive.names(call) if (at := stem_began(name)) is not None]
            if began:
                yield call, min(began)

    def _segments(self, call: str, suffixes: tuple[str, ...]) -> list[SegmentRecords]:
        if not is_call_name(call):
            return []
        names = [name for name in self._archive.names(call) if name.endswith(suffixes)]
        return read_segments({name: self._archive.read(call, name) for name in names})

    def _summary(self, call: str) -> CallSummary | None:
        try:
            segments = self._segments(call, (EVENTS_SUFFIX,))
        except NewerRecording:  # its call alone cannot be read
            return None
        if not segments:
            return None
        segments.sort(key=lambda segment: segment.head.wall_us)
        names = self._archive.names(call)
        heads = [segment.head for segment in segments]
        events: list[Event] = [event for segment in segments for event in segment.of(Event)]
        last_us = max(head.wall_us + _last_us(segment) for head, segment in zip(heads, segments, strict=True))
        return CallSummary(
            session_id=call,
            began_s=heads[0].wall_us / 1e6,
            last_s=last_us / 1e6,
            agent=heads[0].agent,
            subject=heads[0].subject,
            transport=heads[0].transport,
            workers=tuple(dict.fromkeys(head.worker for head in heads)),
            turns=len({event.facts.get("turn") for event in events if _is_callers(event)}),
            incidents=sum(event.kind in INCIDENTS for event in events),
            code=next((event.facts["code"] for event in reversed(events) if event.kind == "ended"), None),
            has_audio=any(name.endswith(AUDIO_SUFFIX) for name in names),
            has_words=any(name.endswith(WORDS_SUFFIX) for name in names),
        )


def _last_us(segment: SegmentRecords) -> int:
    return max((record.at_us for record in segment.records), default=0)


def _is_callers(event: Event) -> bool:
    return event.kind == "transcript" and event.facts.get("role") == "user"


def _is_old_sound(name: str, before: float) -> bool:
    began = stem_began(name)
    return name.endswith(AUDIO_SUFFIX) and began is not None and began < before

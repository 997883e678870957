"""What happens to sessions, for all who watch them: the admin interface, traces, recordings."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.errors import loggable
from voice_gateway.session.stats.turn_latency import TurnLatency

_log = LimitedLog(structlog.get_logger("voice_gateway.session"))


def _snake_case(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()


_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")


class SessionEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=_snake_case):
    """Something that happened to a session."""


class SessionStarted(SessionEvent, frozen=True):
    """A caller's `start` was accepted; `connection` is the QUIC connection ID that the log names, if there is one."""

    transport: str
    peer: str
    codec: str
    agent: str
    connection: str | None


class SessionResumed(SessionEvent, frozen=True):
    """The caller is back over another connection; `is_restored`: at another worker, from the session store."""

    transport: str
    peer: str
    connection: str | None
    next_sequence: int
    is_restored: bool


class SessionMigrated(SessionEvent, frozen=True):
    """The caller's address changed from `was` to `peer`; no frame came for `gap_ms` around it."""

    was: str
    peer: str
    gap_ms: float


class SessionDetached(SessionEvent, frozen=True):
    """The connection is lost, and the caller may come back."""

    reason: str


class SessionDraining(SessionEvent, frozen=True):
    """The caller is sent to another worker within `deadline_s`."""

    deadline_s: float


class SessionInterrupted(SessionEvent, frozen=True):
    """The caller, or the agent itself, cut a reply off after `played_ms`."""

    played_ms: int


class TurnCompleted(SessionEvent, frozen=True):
    """A turn is over, as the next one began or the session ended; its figures are complete."""

    turn: TurnLatency


class ToolStarted(SessionEvent, frozen=True):
    """A tool was called; `side` is `agent` or `client`, where it runs."""

    call: str
    name: str
    side: str


class ToolEnded(SessionEvent, frozen=True):
    """A tool returned, or failed."""

    call: str
    has_failed: bool


class LineAdded(SessionEvent, frozen=True):
    """`role` (`user` or `agent`) said `text` in `turn`; a correction replaces the agent's line before it."""

    turn: int
    role: str
    text: str
    is_correction: bool = False


class SessionEnded(SessionEvent, frozen=True):
    """The session is over at this worker; where `goes_on`, its record is kept for another one."""

    code: str
    reason: str
    frames: int
    turns: int
    goes_on: bool


OnSessionEvent = Callable[[str, SessionEvent, float], None]
"""Takes a session's ID, what happened to it, and when on the event loop's clock."""


class SessionEvents:
    """Gives each event of a worker's sessions to all subscribers, at once and in order.

    A subscriber must not block; what it raises is logged, and neither the session nor the others notice.
    """

    def __init__(self) -> None:
        self._subscribers: tuple[OnSessionEvent, ...] = ()

    @property
    def is_watched(self) -> bool:
        return bool(self._subscribers)

    def subscribe(self, subscriber: OnSessionEvent) -> Callable[[], None]:
        """Call `subscriber` with every event from now on; return what ends that."""
        self._subscribers = (*self._subscribers, subscriber)

        def unsubscribe() -> None:
            self._subscribers = tuple(each for each in self._subscribers if each is not subscriber)

        return unsubscribe

    def publish(self, session_id: str, event: SessionEvent, at: float) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(session_id, event, at)
            except Exception as error:  # a defect of a watcher must not end calls
                _log.warning("session_event_failed", session=session_id, of=type(event).__name__, **loggable(error))


def event_document(session_id: str, event: SessionEvent, time_s: float) -> dict[str, object]:
    """Return an event as plain values; `time_s` is when it was, in seconds since 1970."""
    document: dict[str, object] = {"session": session_id, "time": round(time_s, 3), **msgspec.to_builtins(event)}
    if isinstance(event, TurnCompleted):
        figures = event.turn.figures or {}
        document["turn"] = {
            "turn": event.turn.turn,
            "utterance_id": event.turn.utterance_id,
            "frames_replayed": event.turn.frames_replayed,
            "was_interrupted": event.turn.was_interrupted,
            "figures_ms": {figure.value: round(value_ms, 1) for figure, value_ms in figures.items()},
        }
    return document

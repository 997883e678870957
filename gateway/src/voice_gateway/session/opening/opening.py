"""From an accepted connection to a session: takes the caller's first message, and has a session created or found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from voice_gateway.session.core.lifecycle.agreement import Agreement, agree
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.live_session import EarlyFrame
from voice_gateway.session.runtime.saving.ownership import call_session_id
from voice_gateway.session.stats.counters import SessionCounters
from voice_gateway.transport.base import TransportHandler
from voicelink.net.deadline_timer import Clock, DeadlineTimer
from voicelink.wire import AudioFrame, ClientMessage, CloseCode, Malformed, Resume, Start

_log = structlog.get_logger("voice_gateway.session")


@dataclass(frozen=True, slots=True)
class LookUp:
    """A caller that wants to go on with a session: by its resume token or, if it `is_call`, by its call ID alone."""

    resume: Resume
    agreement: Agreement
    is_call: bool = False


class SessionOpener(Protocol):
    """What an `Opening` asks of the sessions of its worker."""

    agent_name: str

    def check_start(self, connection: ClientConnection) -> Malformed | None:
        """Return why no further session may start, if so."""

    def create(self, connection: ClientConnection, agreement: Agreement, early: Sequence[EarlyFrame]) -> None:
        """Start a new session over the connection, and give it the frames that overtook `start`."""

    def look_up(self, connection: ClientConnection, request: LookUp) -> None:
        """Find the session, here or in the store, and attach the connection to it; or refuse the connection."""


class Opening(TransportHandler):
    """The `TransportHandler` of a connection that has no session yet; `on_decided` is called once, with its outcome.

    A caller has `start_timeout_s` for its first message. Frames may overtake `start`, up to `early_frames` and
    `early_bytes`, but not `resume`. A call (`call_id`) sends nothing but `start` until it is `ready`.
    """

    def __init__(
        self,
        connection: ClientConnection,
        opener: SessionOpener,
        limits: SessionLimits,
        counters: SessionCounters,
        clock: Clock,
        on_decided: Callable[[], None],
        *,
        call_id: str | None = None,
    ) -> None:
        self._connection = connection
        self._opener = opener
        self._limits = limits
        self._counters = counters
        self._clock = clock
        self._on_decided = on_decided
        self._call_id = call_id
        self._is_decided = False
        self._early: list[EarlyFrame] = []
        self._early_bytes = 0
        self._timer = DeadlineTimer(clock, self._timed_out)
        self._timer.set(clock.time() + limits.start_timeout_s)
        connection.set_handler(self)

    def message_received(self, message: ClientMessage) -> None:
        if self._is_decided:
            self._connection.refuse(_NOT_READY.code, _NOT_READY.reason)
        elif isinstance(message, Start):
            self._started(message)
        elif self._call_id is not None:
            self.malformed_received(_NOT_READY)
        elif isinstance(message, Resume):
            self._resumed(message)
        else:
            self.end(CloseCode.WRONG_ORDER, "the first message must be start or resume")

    def audio_received(self, frame: AudioFrame) -> None:
        if self._is_decided:
            self._connection.refuse(_NOT_READY.code, _NOT_READY.reason)
            return
        if self._call_id is not None:
            self.malformed_received(_NOT_READY)
            return
        limits, next_sequence = self._limits, len(self._early)
        if frame.sequence > next_sequence:
            self.end(CloseCode.WRONG_ORDER, f"uplink frame {frame.sequence} where {next_sequence} is next")
        elif frame.sequence < next_sequence:
            self._counters.frames_received += 1
            self._counters.bytes_received += len(frame.payload)
            self._counters.frames_dropped += 1
        elif next_sequence == limits.early_frames:
            self.end(CloseCode.WRONG_ORDER, f"{limits.early_frames} uplink frames before start")
        elif self._early_bytes + len(frame.payload) > limits.early_bytes:
            self.end(CloseCode.OVERLOADED, f"more than {limits.early_bytes} bytes of audio before start")
        else:
            self._early_bytes += len(frame.payload)
            self._early.append(EarlyFrame(frame, self._clock.time()))

    def malformed_received(self, fault: Malformed) -> None:
        self.end(fault.code, fault.reason)

    def lost(self, reason: str) -> None:
        self._ended(CloseCode.NORMAL, reason)

    def left(self, reason: str) -> None:
        self._ended(CloseCode.NORMAL, reason)

    def end(self, code: CloseCode, reason: str) -> None:
        self._ended(code, reason)
        self._connection.refuse(code, reason)

    def _started(self, start: Start) -> None:
        fault = None if self._call_id is not None else self._opener.check_start(self._connection)
        agreement = fault or self._agree(start)
        if not isinstance(agreement, Malformed) and start.agent not in (None, self._opener.agent_name):
            agreement = Malformed(f"the agent here is {self._opener.agent_name}, start asks for another")
        if isinstance(agreement, Malformed):
            self.malformed_received(agreement)
            return
        self._decide("start")
        if self._call_id is None:
            self._opener.create(self._connection, agreement, self._early)
            return
        resume = Resume(session=call_session_id(self._call_id), token="", version=start.version, accept=start.accept)
        self._opener.look_up(self._connection, LookUp(resume, agreement, is_call=True))

    def _resumed(self, resume: Resume) -> None:
        if self._early:
            self.end(CloseCode.WRONG_ORDER, "resume must come first, and once")
            return
        agreement = self._agree(resume)
        if isinstance(agreement, Malformed):
            self.malformed_received(agreement)
            return
        self._decide("resume")
        self._connection.set_handler(None)  # what comes before `ready` is dropped: the caller sends it again
        self._opener.look_up(self._connection, LookUp(resume, agreement))

    def _agree(self, message: Start | Resume) -> Agreement | Malformed:
        uplink = self._connection.transport.datagram_uplink
        return agree(message, has_datagrams=uplink is not None)

    def _decide(self, outcome: str) -> None:
        if self._is_decided:
            return
        self._is_decided = True
        self._timer.release()
        connection = self._connection.transport.connection_id
        _log.debug("session_opening_decided", peer=self._connection.peer, connection=connection, outcome=outcome)
        self._on_decided()

    def _ended(self, code: CloseCode, reason: str) -> None:
        if self._is_decided:
            return
        self._decide("refused" if code is not CloseCode.NORMAL else "left")
        self._counters.ended[code.name.lower()] += 1
        _log.info("session_ended", peer=self._connection.peer, code=code.name, reason=reason, frames=len(self._early))

    def _timed_out(self, now: float) -> None:
        self.end(CloseCode.IDLE, "no start arrived")


_NOT_READY: Final = Malformed("the caller goes on before the session is ready", CloseCode.WRONG_ORDER)

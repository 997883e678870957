"""All sessions of a worker: admits callers, holds their sessions, and sends them elsewhere when the worker stops."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.agent.base import Agent
from voice_gateway.recording.segments.recorder import Recordings
from voice_gateway.session.core.lifecycle.agreement import Agreement
from voice_gateway.session.core.lifecycle.state import SessionState
from voice_gateway.session.core.session import Session
from voice_gateway.session.core.session_limits import Identity, SessionLimits
from voice_gateway.session.core.speech.agent_audio import audio_of
from voice_gateway.session.core.speech.pacing import Lead
from voice_gateway.session.opening.opening import LookUp, Opening
from voice_gateway.session.opening.session_admission import Admission
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.live_session import EarlyFrame, LiveSession, Services
from voice_gateway.session.runtime.saving.ownership import Claim, NewSession, Verdict, claim
from voice_gateway.session.runtime.uplink.backlog import UplinkScheduler
from voice_gateway.session.stats.counters import SessionCounters
from voice_gateway.session.stats.events import SessionEvents
from voice_gateway.session.stats.snapshot import SessionSnapshot
from voice_gateway.store.base import SessionRecord, SessionStore
from voice_gateway.transport.base import Refusal, SessionRequest, Transport
from voicelink.audio.codecs.opus import ANSWERS
from voicelink.wire import CloseCode, Malformed

_REMEMBERED = 64
_MOVE_INTERVAL_S = 0.2
_WAITED_TOO_LONG = Malformed("too many connections wait to begin, this one for longest", CloseCode.OVERLOADED)
_log = LimitedLog(structlog.get_logger("voice_gateway.session"))


class SessionManager:
    """Make one per worker, on its event loop; give its `accept` to every transport.

    Without `new_token`, which makes unguessable ones, a session ends with its connection.
    """

    def __init__(
        self,
        worker: str,
        agent: Agent,
        store: SessionStore,
        *,
        new_id: Callable[[], str],
        new_token: Callable[[], str] | None = None,
        admission: Admission | None = None,
        limits: SessionLimits | None = None,
        lead: Lead | None = None,
        opus_complexity: int = ANSWERS.complexity,
        recordings: Recordings | None = None,
    ) -> None:
        self.worker = worker
        self.counters = SessionCounters()
        self.events = SessionEvents()
        self.is_draining = False
        self.agent_name = agent.name
        self._opus_complexity = opus_complexity
        self._new_id = new_id
        self._new_token = new_token
        self.admission = admission or Admission()
        self._limits = limits or SessionLimits()
        self._tasks: set[asyncio.Task[None]] = set()
        self._services = Services(
            agent,
            audio_of(agent, opus_complexity),
            store,
            self.counters,
            self._spawn,
            lead or Lead(),
            UplinkScheduler(),
            self.events,
            recordings,
        )
        self._openings: dict[ClientConnection, Opening] = {}
        self._live: dict[str, LiveSession] = {}
        self._ended: deque[SessionSnapshot] = deque(maxlen=_REMEMBERED)
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def agent_opened(self) -> None:
        """Take the agent's name and audio again: one that is in hosts learns them when it opens."""
        agent = self._services.agent
        self.agent_name = agent.name
        self._services = replace(self._services, audio=audio_of(agent, self._opus_complexity))

    @property
    def count(self) -> int:
        """How many sessions there are; one counts from its `start`."""
        return self.admission.sessions

    @property
    def unsaved_count(self) -> int:
        """How many of them have a state that the store has not taken yet."""
        return sum(not live.session.tracker.is_saved for live in self._live.values())

    def accept(self, request: SessionRequest, transport: Transport) -> ClientConnection | Refusal:
        """The `Acceptor`: take a connection whose first message opens a session, or say why not."""
        loop = asyncio.get_running_loop()
        rate_limiter = self.admission.decide(
            request,
            self.agent_name,
            self.counters,
            is_draining=self.is_draining,
            clock=loop.time,
        )
        if isinstance(rate_limiter, Refusal):
            self.counters.refused[rate_limiter.status, rate_limiter.cause] += 1
            _log.info("session_refused", peer=request.peer, status=rate_limiter.status, cause=rate_limiter.cause)
            return rate_limiter
        connection = ClientConnection(request, transport, rate_limiter)
        is_known_call = self._new_token is not None and self.admission.trusts_key(request)
        self._openings[connection] = Opening(
            connection,
            self,
            self._limits,
            self.counters,
            loop,
            lambda: self._decided(connection),
            call_id=request.key if is_known_call else None,
        )
        self._is_empty.clear()
        self.counters.accepted[transport.kind] += 1
        replaced = self.admission.waiting.enter(connection, rate_limiter.principal.network)
        if replaced is not None:
            self.counters.limited["waiting"] += 1
            replaced.malformed_received(_WAITED_TOO_LONG)
        return connection

    def _decided(self, connection: ClientConnection) -> None:
        self.admission.waiting.leave(connection)
        del self._openings[connection]
        self._note_empty()

    def snapshot(self) -> list[SessionSnapshot]:
        """Describe the sessions there are, oldest first."""
        return [live.snapshot() for live in self._live.values()]

    def states(self) -> dict[str, int]:
        """Count the sessions by their state, none included."""
        counts = Counter(live.session.state for live in self._live.values())
        return {state.value: counts[state] for state in SessionState}

    def find(self, session_id: str) -> LiveSession | None:
        """Return the session, if it is at this worker now."""
        return self._live.get(session_id)

    def ended(self) -> list[SessionSnapshot]:
        """Describe the last sessions that ended, oldest first."""
        return list(self._ended)

    def drain(self, deadline_s: float) -> None:
        """Refuse new sessions and send all callers elsewhere, one after the other, within `deadline_s`."""
        self.is_draining = True
        self._end_openings()
        loop = asyncio.get_running_loop()
        step_s = min(_MOVE_INTERVAL_S, deadline_s / 4 / max(1, len(self._live)))
        for position, live in enumerate(list(self._live.values())):
            if position == 0:
                live.drain(deadline_s)
            else:
                delay_s = position * step_s
                loop.call_later(delay_s, live.drain, deadline_s - delay_s)

    async def wait_empty(self, timeout_s: float) -> bool:
        """Wait until no session is left; false if some are after `timeout_s`."""
        try:
            await asyncio.wait_for(self._is_empty.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End what sessions are left, and wait for the store to take what they gave it."""
        self.is_draining = True
        self._end_openings()
        for live in list(self._live.values()):
            live.end(CloseCode.DRAINING, "this worker is going away")
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _end_openings(self) -> None:
        for opening in list(self._openings.values()):
            opening.end(CloseCode.DRAINING, "this worker is going away")

    # What a session tells its owner

    def session_ended(self, live: LiveSession) -> None:
        """Remember that there was such a session."""
        self._ended.append(live.snapshot())
        session_id = live.session.identity.session_id
        del self._live[session_id]
        self.admission.left(session_id)
        self._note_empty()

    # What an opening asks for

    def check_start(self, connection: ClientConnection) -> Malformed | None:
        """Return why no further session may start, if so."""
        return self.admission.check_start(connection.rate_limiter)

    def create(self, connection: ClientConnection, agreement: Agreement, early: Sequence[EarlyFrame]) -> None:
        """Start a new session over the connection."""
        token = None if self._new_token is None else self._new_token()
        self._keep(self._session(self._new_id(), connection, token=token), connection).start(agreement, early)

    def look_up(self, connection: ClientConnection, request: LookUp) -> None:
        """Find the session, here or in the store, and attach the connection to it; or refuse the connection."""
        self._spawn(self._look_up(connection, request))

    async def _look_up(self, connection: ClientConnection, request: LookUp) -> None:
        """Attach to the live session, or to one made from the store's record; a call without one begins.

        While the store is away a call begins anew rather than not at all, and cannot be resumed.
        """
        if self._new_token is None:
            self._refuse_resume(connection, Verdict.UNKNOWN)
            return
        resume, token, is_call = request.resume, self._new_token(), request.is_call
        subject = connection.rate_limiter.principal.subject
        asked = Claim(resume.session, self.worker, subject, token, None if is_call else resume.token)
        live = self._live.get(resume.session)
        found = await claim(self._services.store, asked, None if live is None else live.session.tracker)
        live = self._live.get(resume.session)
        if isinstance(found, NewSession | SessionRecord) and live is not None:
            live.fence()  # another worker went on from where it stands
        if isinstance(found, NewSession) or (found is Verdict.STORE_AWAY and is_call):
            self._begin_call(connection, request, token, found.record if isinstance(found, NewSession) else None)
            return
        if isinstance(found, SessionRecord):
            live = self._keep(self._session(found.session_id, connection, record=found), connection)
        elif found not in (Verdict.HERE, Verdict.HERE_UNSAVED):
            self._refuse_resume(connection, found)
            return
        elif live is None or not asked.opens(live.session.tracker.subject, live.session.tracker.resume_tokens):
            self._refuse_resume(connection, Verdict.CONTESTED)  # it ended meanwhile; the store knows more
            return
        if connection.is_open:
            if found is Verdict.HERE_UNSAVED and not is_call:
                token = resume.token
            live.attach(connection, request.agreement, resume, token, has_gap=is_call)

    def _begin_call(
        self, connection: ClientConnection, request: LookUp, token: str, place: SessionRecord | None
    ) -> None:
        """Start the session of a call, in the `place` that the store holds for it."""
        if not connection.is_open:
            return
        fault = self.check_start(connection)
        if fault is not None:
            connection.refuse(fault.code, fault.reason)
            return
        session = self._session(self._new_id() if place is None else place.session_id, connection, token=token)
        if place is not None:
            session.tracker.ownership.claimed(place)
        self._keep(session, connection).start(request.agreement, ())

    def _refuse_resume(self, connection: ClientConnection, verdict: Verdict) -> None:
        self.counters.resumes_refused += 1
        _log.info("resume_refused", peer=connection.peer, reason=verdict.name.lower())
        if verdict is Verdict.STORE_AWAY:
            connection.refuse(CloseCode.OVERLOADED, "the session store cannot be reached now")
        elif verdict is Verdict.CONTESTED:
            connection.refuse(CloseCode.OVERLOADED, "the session is just being taken up elsewhere")
        else:
            connection.refuse(
                CloseCode.UNKNOWN_SESSION, "there is no such session, or the resume token does not open it"
            )

    def _session(
        self,
        session_id: str,
        connection: ClientConnection,
        *,
        token: str | None = None,
        record: SessionRecord | None = None,
    ) -> Session:
        subject = connection.rate_limiter.principal.subject
        identity = Identity(session_id, self.worker, self.agent_name, self._services.audio, subject)
        now, observe = asyncio.get_running_loop().time(), self.counters.observe
        return Session(identity, self._limits, now, token=token, record=record, observe=observe)

    def _keep(self, session: Session, connection: ClientConnection) -> LiveSession:
        session_id = session.identity.session_id
        self.admission.enter(session_id, connection.rate_limiter)
        live = self._live[session_id] = LiveSession(session, connection, self._services, self)
        self._is_empty.clear()
        return live

    def _note_empty(self) -> None:
        if not self._live and not self._openings:
            self._is_empty.set()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

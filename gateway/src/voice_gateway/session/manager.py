"""All sessions of a worker: lets callers in, knows who is there, and sends them away when the worker stops."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.agent.base import Agent
from voice_gateway.session.core.agent_audio import audio_of
from voice_gateway.session.core.pacing import Lead
from voice_gateway.session.core.session import Session
from voice_gateway.session.core.session_limits import Identity, SessionLimits
from voice_gateway.session.opening.session_admission import Admission
from voice_gateway.session.runtime.backlog import UplinkScheduler
from voice_gateway.session.runtime.claim import Verdict, claim
from voice_gateway.session.runtime.client_connection import ClientConnection
from voice_gateway.session.runtime.live_session import LiveSession, Services
from voice_gateway.session.runtime.recall import NewSession, PendingCall, resume_call, returning, session_of
from voice_gateway.session.stats.counters import SessionCounters
from voice_gateway.session.stats.snapshot import SessionSnapshot
from voice_gateway.session.stats.turn_latency import OnTurnComplete
from voice_gateway.store.base import SessionRecord, SessionStore
from voice_gateway.transport.base import Refusal, SessionRequest, Transport
from voicelink.wire import CloseCode, Malformed, Resume, Start

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
        on_turn_complete: OnTurnComplete | None = None,
    ) -> None:
        self.worker = worker
        self.counters = SessionCounters()
        self.is_draining = False
        self._agent = agent
        self._new_id = new_id
        self._new_token = new_token
        self.admission = admission or Admission()
        self._limits = limits or SessionLimits()
        self._tasks: set[asyncio.Task[None]] = set()
        self._services = Services(
            agent,
            audio_of(agent),
            store,
            self.counters,
            self._spawn,
            lead or Lead(),
            UplinkScheduler(),
            on_turn_complete,
        )
        self._live: dict[str, LiveSession] = {}
        self._ended: deque[SessionSnapshot] = deque(maxlen=_REMEMBERED)
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def count(self) -> int:
        """How many sessions there are; one counts from its `start`."""
        return self.admission.sessions

    @property
    def unsaved_count(self) -> int:
        """How many of them have a state that the store has not taken yet."""
        return sum(not live.session.tracker.is_saved for live in self._live.values())

    def accept(self, request: SessionRequest, transport: Transport) -> ClientConnection | Refusal:
        """The `Acceptor`: begin a session, or say why not."""
        loop = asyncio.get_running_loop()
        rate_limiter = self.admission.judge(
            request,
            self._agent.name,
            self.counters,
            is_draining=self.is_draining,
            clock=loop.time,
        )
        if isinstance(rate_limiter, Refusal):
            self.counters.refused[rate_limiter.status, rate_limiter.cause] += 1
            _log.info("session_refused", peer=request.peer, status=rate_limiter.status, cause=rate_limiter.cause)
            return rate_limiter
        connection = ClientConnection(request, transport, rate_limiter)
        if request.key is not None and self._new_token is not None and self.admission.trusts_key(request):
            session_id = session_of(request.key)
            connection.set_handler(
                PendingCall(connection, lambda start: self._spawn(self._resume_call(connection, session_id, start)))
            )
        else:
            token = None if self._new_token is None else self._new_token()
            self._keep(self._session(self._new_id(), rate_limiter.principal.subject, token=token), connection)
        self.counters.accepted[transport.kind] += 1
        self._wait(connection)
        return connection

    def _wait(self, connection: ClientConnection) -> None:
        """Let the connection wait for its first message; where too many do, another one gives way."""
        waiting = self.admission.waiting
        connection.wait(lambda: waiting.leave(connection))
        replaced = waiting.enter(connection, connection.rate_limiter.principal.network)
        if replaced is not None:
            self.counters.limited["waiting"] += 1
            replaced.malformed_received(_WAITED_TOO_LONG)

    def snapshot(self) -> list[SessionSnapshot]:
        """Describe the sessions there are, oldest first."""
        return [live.snapshot() for live in self._live.values()]

    def ended(self) -> list[SessionSnapshot]:
        """Describe the last sessions that ended, oldest first."""
        return list(self._ended)

    def drain(self, deadline_s: float) -> None:
        """Refuse new sessions and send all callers elsewhere, one after the other, within `deadline_s`."""
        self.is_draining = True
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
        for live in list(self._live.values()):
            live.end(CloseCode.DRAINING, "this worker is going away")
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    # What sessions tell their owner

    def session_ended(self, live: LiveSession) -> None:
        """Remember that there was such a session."""
        self._ended.append(live.snapshot())
        self._let_go(live)

    def start_asked(self, live: LiveSession, connection: ClientConnection) -> Malformed | None:
        """Give the session a place, or say why there is none."""
        return self.admission.start(live.session.identity.session_id, connection.rate_limiter)

    def resume_asked(self, live: LiveSession, connection: ClientConnection, resume: Resume) -> None:
        """Find the session that the caller means."""
        self._let_go(live)
        self._spawn(self._resume(connection, resume))

    async def _resume(self, connection: ClientConnection, resume: Resume) -> None:
        if self._new_token is None:
            self._refuse_resume(connection, Verdict.UNKNOWN)
            return
        token, subject = self._new_token(), connection.rate_limiter.principal.subject
        live = self._live.get(resume.session)
        store = self._services.store
        tracker = None if live is None else live.session.tracker
        claimed = await claim(store, resume, token, self.worker, tracker, subject)
        live = self._live.get(resume.session)
        if isinstance(claimed, SessionRecord):
            if live is not None:
                live.fence()  # another worker went on from where it stands
            live = self._keep(self._session(claimed.session_id, subject, record=claimed), connection, is_resumed=True)
        elif (
            claimed not in (Verdict.HERE, Verdict.HERE_UNSAVED)
            or live is None
            or not live.session.tracker.opens_to(resume.token, subject)
        ):
            is_gone = claimed in (Verdict.HERE, Verdict.HERE_UNSAVED)  # meanwhile; the store knows what became of it
            self._refuse_resume(connection, Verdict.CONTESTED if is_gone else claimed)
            return
        if connection.is_open:
            live.attach(connection, resume, resume.token if claimed is Verdict.HERE_UNSAVED else token)

    async def _resume_call(self, connection: ClientConnection, session_id: str, start: Start) -> None:
        """Go on with the session of a call that comes back, or begin one.

        While the store is away a call begins anew rather than not at all, and cannot be taken up.
        """
        token, subject = (self._new_token or self._new_id)(), connection.rate_limiter.principal.subject
        live = self._live.get(session_id)
        tracker = None if live is None else live.session.tracker
        found = await resume_call(self._services.store, session_id, token, self.worker, tracker, subject)
        live = self._live.get(session_id)
        if not connection.is_open:
            return
        if isinstance(found, NewSession | SessionRecord) and live is not None:
            live.fence()
        if isinstance(found, NewSession):
            session = self._session(session_id, subject, token=token)
            session.tracker.claimed(found.record)
            self._keep(session, connection).message_received(start)
        elif found is Verdict.STORE_AWAY:
            self._keep(self._session(self._new_id(), subject, token=token), connection).message_received(start)
        elif isinstance(found, SessionRecord):
            live = self._keep(self._session(session_id, subject, record=found), connection, is_resumed=True)
            live.attach(connection, returning(session_id, start), token, has_gap=True)
        elif live is not None and found in (Verdict.HERE, Verdict.HERE_UNSAVED):
            live.attach(connection, returning(session_id, start), token, has_gap=True)
        else:
            self._refuse_resume(connection, Verdict.UNKNOWN if found is Verdict.UNKNOWN else Verdict.CONTESTED)

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
        self, session_id: str, subject: str | None, *, token: str | None = None, record: SessionRecord | None = None
    ) -> Session:
        identity = Identity(session_id, self.worker, self._agent.name, self._services.audio, subject)
        now, observe = asyncio.get_running_loop().time(), self.counters.observe
        return Session(identity, self._limits, now, token=token, record=record, observe=observe)

    def _keep(self, session: Session, connection: ClientConnection, *, is_resumed: bool = False) -> LiveSession:
        if is_resumed:
            self.admission.resumed(session.identity.session_id, connection.rate_limiter)
        live = LiveSession(session, connection, self._services, self)
        self._live[session.identity.session_id] = live
        self._is_empty.clear()
        return live

    def _let_go(self, live: LiveSession) -> None:
        del self._live[live.session.identity.session_id]
        self.admission.left(live.session.identity.session_id)
        if not self._live:
            self._is_empty.set()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

"""The run of a call's LiveKit session, from its start to its end, and what its failure becomes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from livekit.agents import AgentSession, APIStatusError
from livekit.agents.voice.events import CloseEvent, ErrorEvent

from voice_gateway.agent.apology import Apology
from voice_gateway.agent.base import AgentFailed, Emit, HangUp
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agent.last_reply import LastReply
from voice_gateway.errors import loggable

_REFUSALS: Final = frozenset({401, 402, 403, 404})
"""HTTP statuses of a vendor that refuses the key, the account or the model, and so each turn that follows."""
_log = structlog.get_logger("voice_gateway.agents.livekit")


class LiveKitRun:
    """A session that ends hangs up; one that fails is followed by the apology, and ends the call."""

    def __init__(
        self, emit: Emit, changes: Changes, last_reply: LastReply, apology: Callable[[], Awaitable[Apology]]
    ) -> None:
        self.session_id: str | None = None
        """Of our session, for the log."""
        self.has_begun = False
        """Whether the call has: LiveKit's session starts with it."""
        self._emit = emit
        self._changes = changes
        self._last_reply = last_reply
        self._apology = apology
        self._session: AgentSession[Any] | None = None
        self._is_started = False
        self._is_closed = False
        self._refusal = ""
        """Which part of LiveKit's session a vendor refused to work for, where that ended the session."""
        self._failing: asyncio.Task[None] | None = None

    @property
    def session(self) -> AgentSession[Any] | None:
        """LiveKit's session, once it has started."""
        return self._session if self._is_started else None

    @property
    def has_failed(self) -> bool:
        """Whether what is said now is the apology."""
        return self._failing is not None

    def hold(
        self, make: Callable[[], AgentSession[Any]], start: Callable[[AgentSession[Any]], Awaitable[None]]
    ) -> asyncio.Task[None]:
        """Once the call begins, `make` a session and `start` it; `close` ends the task, and the session with it."""
        return asyncio.get_running_loop().create_task(self._hold(make, start))

    def begin(self) -> None:
        """The call begins, unless it has."""
        self.has_begun = True
        self._changes.notify()

    def started(self) -> None:
        """LiveKit's session runs."""
        self._is_started = True
        self._end_refused()

    def erred(self, event: ErrorEvent) -> None:
        """End LiveKit's session at once where a vendor refuses: LiveKit itself lets three turns pass in silence."""
        cause = getattr(event.error, "error", None)
        if isinstance(cause, APIStatusError) and cause.status_code in _REFUSALS and not event.error.recoverable:
            self._refusal = self._refusal or f"{type(event.error).__name__} of {event.error.label}"
            self._end_refused()

    def ended(self, event: CloseEvent) -> None:
        """LiveKit's session ended by itself."""
        cause = self._refusal if event.error is None else f"{type(event.error).__name__} of {event.error.label}"
        if cause:
            self._fail(f"LiveKit's session ended: {cause}")
        else:
            self._emit(HangUp())

    def close(self) -> None:
        """Say nothing more; the owner of the task cancels it."""
        self._is_closed = True
        if self._failing is not None:
            self._failing.cancel()

    async def _hold(
        self, make: Callable[[], AgentSession[Any]], start: Callable[[AgentSession[Any]], Awaitable[None]]
    ) -> None:
        await self._changes.until(lambda: self.has_begun)
        try:
            self._session = make()
            await start(self._session)
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if not self._is_closed:
                raise
        except Exception as error:  # the agent's author wrote what runs here: it may raise anything
            _log.error("livekit_agent_failed", session=self.session_id, **loggable(error))
            self._fail(f"the LiveKit agent could not start: {type(error).__name__}")
        finally:
            if self._session is not None:
                await self._session.aclose()

    def _end_refused(self) -> None:
        if self._refusal and self.session is not None:
            self.session.shutdown(drain=False)

    def _fail(self, reason: str) -> None:
        if self._failing is None and not self._is_closed:
            _log.error("livekit_call_failed", session=self.session_id, reason=reason)
            self._failing = asyncio.get_running_loop().create_task(self._apologise(reason))

    async def _apologise(self, reason: str) -> None:
        """Let the caller hear the apology, and end the session."""
        await self._last_reply.say(await self._apology())
        self._emit(AgentFailed(reason))

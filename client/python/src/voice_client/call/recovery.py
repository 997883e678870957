"""Detects a silent or lost connection, redials, and ends the call after a timeout."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from voice_client.errors import CallLost, ClientError
from voice_client.events import Event, Interrupted, Resumed
from voice_client.state_log import log_change
from voice_client.transport.link import Link, LinkHandler
from voice_client.transport.redial import Redial, answered
from voicelink.wire import CloseCode

_log = logging.getLogger(__name__)

_WATCH_S = 0.05
_DEAD_AFTER_S = 0.75
"""So long without an acknowledgement, a connection counts as lost, unless its probe timeout is longer."""
_ALIVE_S = 0.1
"""The longest wait for an acknowledgement on a connection that answers."""
_HELD_UP_S = 0.4
"""A look that comes so late says nothing of the connection: this process read nothing meanwhile."""
_MAX_UNKNOWN_SESSIONS = 6
"""So many workers may not know the session: without a shared store only one does, and each port leads to any."""

Dial = Callable[[Link, bool], Awaitable[None]]
"""Connects the link; the flag is false where the chosen local address cannot be used any more."""


class Recovering(LinkHandler, Protocol):
    """The parts of a call that recovery needs."""

    began_at: float | None

    @property
    def link(self) -> Link | None:
        """The link that carries the call now."""

    @property
    def can_resume(self) -> bool:
        """Whether the session can be taken up over another link."""

    @property
    def latest_rtt_ms(self) -> float | None:
        """The newest round trip."""

    def end(self, error: ClientError | None) -> None:
        """The call is over."""


class Recovery:
    """Of one call; `resumes` are the times when it went on over a new connection.

    A connection counts as lost when what was sent on it waits for an acknowledgement for 0.75 s, or for the probe
    timeout on a path whose round trip is longer than that. It is probed and read until its replacement is connected: if
    it answers before, the call stays where it is.
    """

    def __init__(
        self,
        call: Recovering,
        emit: Callable[[Event], None],
        dial: Dial,
        rng: Callable[[int], bytes],
        timeout_s: float,
    ) -> None:
        self.resumes: list[Resumed] = []
        self._call = call
        self._emit = emit
        self._dial = dial
        self._rng = rng
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._redial: Redial | None = None
        self._is_interrupted = False
        self._unknown_sessions = 0
        self._progressed_at = 0.0
        self._give_up: asyncio.TimerHandle | None = None
        self._watcher: asyncio.TimerHandle | None = None
        self._looked_at = self._loop.time()

    def watch(self) -> None:
        """Look from now on whether what is sent arrives."""
        self._watcher = self._loop.call_later(_WATCH_S, self.watch)
        now = self._loop.time()
        was_held_up, self._looked_at = now - self._looked_at > _HELD_UP_S, now
        link = self._call.link
        if was_held_up or link is None or link.connection is None or not self._call.can_resume:
            return
        stalled_s = link.connection.stalled_s
        if not self._is_interrupted:
            if stalled_s > max(_DEAD_AFTER_S, link.connection.probe_timeout_s):
                self.interrupted(link, f"the server has not answered for {stalled_s:.1f} s")
                self.redial()
        elif stalled_s < _ALIVE_S:
            self.resumed("", has_reconnected=False)

    def interrupted(self, link: Link | None, reason: str, error: ClientError | None = None) -> None:
        """The link does not carry the call any more; `error` is what the call ends with if no other does."""
        if self._is_interrupted:
            return
        self._is_interrupted = True
        self._progressed_at = self._loop.time() - (self._stalled_s(link) or 0.0)
        failure = error or CallLost(f"the connection was lost and could not be replaced: {reason}")
        self._give_up = self._loop.call_later(self._timeout_s, self._call.end, failure)
        log_change(_log, "call_interrupted", reason=reason)
        self._emit(Interrupted(reason))

    def may_retry(self, code: int) -> bool:
        """Whether a resume that was refused with this code may succeed later, or at another worker."""
        if code == CloseCode.UNKNOWN_SESSION:
            self._unknown_sessions += 1
            return self._unknown_sessions < _MAX_UNKNOWN_SESSIONS
        return code == CloseCode.OVERLOADED

    def redial(self) -> None:
        """Look for another connection, unless that is going on."""
        if self._redial is None or self._redial.is_over:
            self._redial = Redial(self._attempt, self._call.end, self._rng, self._call.latest_rtt_ms)

    def resumed(self, worker: str, *, has_reconnected: bool) -> float:
        """The call goes on; return the gap in ms."""
        now = self._loop.time()
        gap_ms = (now - self._progressed_at) * 1000
        resumed = Resumed(now - (self._call.began_at or now), worker, gap_ms, has_reconnected)
        if has_reconnected and self._redial is not None:
            self._redial.succeeded()
        self._stop_dialling()
        self._is_interrupted = False
        self._unknown_sessions = 0
        log_change(_log, "call_resumed", worker=worker or "same", gap_ms=gap_ms, has_reconnected=has_reconnected)
        if has_reconnected:
            self.resumes.append(resumed)
        self._emit(resumed)
        return gap_ms

    def stop(self) -> None:
        """The call is over."""
        self._stop_dialling()
        if self._watcher is not None:
            self._watcher.cancel()

    def _stop_dialling(self) -> None:
        if self._redial is not None and not self._redial.is_over:
            self._redial.cancel()
            self._redial = None
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None

    async def _attempt(self, limit: asyncio.Timeout, has_address: bool) -> bool:
        former = self._call.link
        if former is not None and former.connection is not None:
            # not before the first packet of the new connection, for which the call waits
            self._loop.call_later(_WATCH_S, former.connection.probe)
        link = Link(self._call, lambda: answered(limit))
        try:
            await self._dial(link, has_address)
            await link.settled.wait()
        finally:
            if self._call.link is not link:
                link.leave()
        return not link.is_lost

    def _stalled_s(self, link: Link | None) -> float | None:
        return None if link is None or link.connection is None else link.connection.stalled_s

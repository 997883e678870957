"""At which host a call is: opens it there, and at another one when that ends, is blocked, drains or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from voice_gateway.agent.base import AgentFailed, AudioFormat, Emit, SessionView
from voice_gateway.hosts.messages import CallerAttached, encode_control, encode_frame
from voice_gateway.hosts.worker.call.continuity import Continuity
from voice_gateway.hosts.worker.link import HostLink, LinkRefused, dial
from voice_gateway.hosts.worker.pool import Host, HostPool, HostState

ATTEMPTS_PER_EPOCH: Final = 1 << 32
"""Calls that one worker opens at hosts, all together; the session's epoch counts above them."""
MOST_LOST_IN_A_TURN: Final = 4
"""A turn that ends so many hosts, as one whose tool crashes them, ends its call before it ends them all."""
REPEAT_TIMEOUT_S: Final = 5.0
"""How long a host may take to begin with what it is to say again."""
_REDIAL_S: Final = 0.05
_log = structlog.get_logger("voice_gateway.hosts")


class HostPlacement:
    """The call as the pool knows it. `on_message` takes what the present host sends; of hosts before, it is dropped."""

    def __init__(
        self,
        pool: HostPool,
        patience_s: float,
        form: AudioFormat,
        session: SessionView,
        continuity: Continuity,
        emit: Emit,
        on_message: Callable[[bytes], None],
    ) -> None:
        self.attempt = 0
        """The newest attempt to open the call at a host; grows from host to host."""
        self._pool = pool
        self._patience_s = patience_s
        self._form = form
        self._session = session
        self._continuity = continuity
        self._emit = emit
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._link: HostLink | None = None
        self._host: Host | None = None
        self._left = asyncio.Event()
        self._epoch = 0
        self._lost_in_turn = 0
        self._enter_by: float | None = None
        """Until when a host must have taken the call; `None` while one has it."""
        self._repeat_by: float | None = None
        self._leaves_when_quiet = False
        self._is_attached = session.is_attached()

    async def run(self) -> str:
        """Keep the call at a host; return why there is none for it any more."""
        while True:
            last, self._host = self._host, None
            if self._lost_in_turn >= MOST_LOST_IN_A_TURN:
                return f"{self._lost_in_turn} agent hosts ended in the same turn"
            if not await self._enter(last):
                return f"no agent host could take the call within {self._patience_s:g} s"
            await self._left.wait()

    def is_at(self, attempt: int) -> bool:
        """Whether the call is still at the host of this attempt."""
        return self._link is not None and self.attempt == attempt

    def send(self, raw: bytes) -> None:
        """Send a message to the host, if there is one."""
        if self._link is not None:
            self._link.send(raw)

    def fail(self, reason: str) -> None:
        """Leave the host, and end the call."""
        self.close()
        self._emit(AgentFailed(reason))

    def close(self) -> None:
        """Leave the host, which forgets the call."""
        link, self._link = self._link, None
        if self._host is not None:
            self._host.calls.discard(self)
        if link is not None:
            link.close()

    # What the pool asks

    def leave(self, cause: str) -> None:
        """Go on at another host."""
        host = self._host
        if host is None or self._link is None:
            return
        self.close()
        self._pool.counters.lost[cause] += 1
        if cause in (HostState.DEAD, HostState.BLOCKED):
            self._lost_in_turn += 1
        session_id = self._session.session_id
        _log.info("call_left_host", session=session_id, host=str(host.address), cause=cause, epoch=self._epoch)
        self._left.set()

    def leave_when_quiet(self) -> None:
        """Go on at another host, once neither side speaks and there is one."""
        self._leaves_when_quiet = True
        self.leave_if_quiet()

    def tick(self, now: float) -> None:
        """Tell the host whether the caller is there; wait no longer for what it was to say again."""
        if self._session.is_attached() is not self._is_attached:
            self._is_attached = self._session.is_attached()
            self.send(encode_control([CallerAttached(is_attached=self._is_attached)]))
        if self._repeat_by is not None and now >= self._repeat_by:
            self._repeat_by = None
            for event in self._continuity.give_up_repeating():
                self._emit(event)
        self.leave_if_quiet()

    # What the host, and the call, let it know

    def host_took_call(self) -> None:
        """The host has opened the call."""
        self._enter_by = None

    def host_refused(self) -> None:
        """The host goes away, which its load says a moment later: choose another one."""
        if self._host is not None:
            self._pool.lost(self._host)
        self.leave("refused")

    def turn_began(self) -> None:
        """The hosts that were lost before were lost in another turn."""
        self._lost_in_turn = 0

    def leave_if_quiet(self) -> None:
        """Leave a host that drains, where this is the moment and there is another one."""
        if not self._leaves_when_quiet or self._link is None or not self._continuity.is_quiet:
            return
        if self._pool.best(but=self._host) is not None:
            self._leaves_when_quiet = False
            self.leave(HostState.DRAINING)

    async def _enter(self, last: Host | None) -> bool:
        """Open the call at a host; false where there is none for too long."""
        if self._enter_by is None:
            self._enter_by = self._loop.time() + self._patience_s
        while (left_s := self._enter_by - self._loop.time()) > 0:
            host = await self._pool.choose(left_s, but=last)
            if host is None:
                return False
            host.calls.add(self)  # counts already for the calls that choose meanwhile
            try:
                link = await dial(host.address, self._pool.credentials(host))
            except asyncio.CancelledError:
                host.calls.discard(self)
                raise
            except (OSError, LinkRefused):
                host.calls.discard(self)
                self._pool.lost(host)
                last = host
                await asyncio.sleep(_REDIAL_S)
                continue
            self._open(host, link)
            return True
        return False

    def _open(self, host: Host, link: HostLink) -> None:
        self.attempt = next(self._pool.attempts)
        self._epoch = self._session.epoch * ATTEMPTS_PER_EPOCH + self.attempt
        self._host, self._link = host, link
        self._left.clear()
        self._leaves_when_quiet = host.state is HostState.DRAINING
        first = [encode_control([self._continuity.opening(self._epoch)])]
        self._repeat_by = self._loop.time() + REPEAT_TIMEOUT_S
        for each in self._continuity.replay():
            if isinstance(each, tuple):
                first.append(encode_frame(*each, self._form))
            else:
                first.append(encode_control([each]))
        link.start(first, lambda raw: self._received(link, raw), lambda reason: self._link_lost(link, host))
        session_id = self._session.session_id
        _log.debug("call_entered_host", session=session_id, host=str(host.address), epoch=self._epoch)

    def _received(self, link: HostLink, raw: bytes) -> None:
        if link is self._link:
            self._on_message(raw)
        else:  # an epoch that is over
            self._pool.counters.fenced += 1

    def _link_lost(self, link: HostLink, host: Host) -> None:
        if link is self._link:
            self._pool.lost(host)
            self.leave(HostState.DEAD)

"""The session at the vendor that the call has now: opened, ready, replaced before its end, and lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from voice_gateway.agents.bridges.bridge.call.session.renewal import Renewal
from voice_gateway.agents.bridges.bridge.malformed import MalformedMessages
from voice_gateway.agents.bridges.bridge.options import Bridge
from voice_gateway.agents.bridges.bridge.upstream import Upstream, UpstreamHandler
from voice_gateway.agents.bridges.bridge.vendor import Message, Said, VendorEvent, VendorSession

_log = structlog.get_logger("voice_gateway.agents.bridges")


class CurrentSession:
    """Holds the WebSocket, and the vendor's part of the session on it; another one follows each that is lost."""

    def __init__(self, bridge: Bridge, handler: UpstreamHandler) -> None:
        self.session: VendorSession = bridge.vendor.session(bridge.functions.schemas)
        self.number = 0
        """Counts the sessions of the call."""
        self.is_ready = False
        """Whether it takes audio and requests."""
        self._bridge = bridge
        self._renewal = Renewal(bridge.times.margin_s, bridge.times.forced_s)
        self.malformed = MalformedMessages(bridge.vendor.name, bridge.malformed)
        self._upstream = Upstream(bridge.vendor, bridge.target, handler, bridge.times.upstream)
        self.task = asyncio.get_running_loop().create_task(self._upstream.run())
        """Runs until the call is over."""

    def send(self, messages: list[Message]) -> None:
        """Queue messages to the vendor; without a session they are dropped."""
        self._upstream.send(messages)

    def open(self, history: Sequence[Said]) -> list[Message]:
        """The WebSocket is open: return what configures a new session, and replays the history to it."""
        self.number += 1
        previous, self.session = self.session, self._bridge.vendor.session(self._bridge.functions.schemas)
        if not self.malformed.has_broken_session:
            self.session.follows(previous)
        self.malformed.session_opened()
        return self.session.opened(history)

    def ready(self, lasts_s: float | None) -> None:
        """The vendor takes audio from now on, for `lasts_s`."""
        self.is_ready = True
        self._upstream.established()
        self._renewal.ready(asyncio.get_running_loop().time(), lasts_s)
        _log.info("bridge_session_ready", vendor=self._bridge.vendor.name, number=self.number)

    def read(self, message: Message) -> list[VendorEvent] | None:
        """Return the events of a message, `None` where it is malformed: then call `end_malformed`."""
        return self.malformed.read(self.session, message)

    def end_malformed(self) -> str | None:
        """End the session, or return why the call must fail, where the sessions before it ended so, too."""
        failure = self.malformed.failure
        if failure is None:
            self.end("sent a malformed message")
        return failure

    def ending(self, within_s: float) -> None:
        """The vendor announced the session's end."""
        self._renewal.ending(asyncio.get_running_loop().time(), within_s)

    def tick(self, now: float, *, is_quiet: bool) -> None:
        """Keep the session alive, and cross its end where that is near."""
        self.send(self.session.keep_alive())
        if self._renewal.is_due(now, is_quiet=is_quiet):
            self.end("its time is over")

    def probe(self) -> None:
        """Learn soon that the vendor has all audio."""
        self._upstream.probe()

    def end(self, reason: str) -> None:
        """End the session; another one follows."""
        self._upstream.end(reason)

    def lost(self) -> None:
        """The session is over."""
        self.is_ready = False
        self._renewal.lost()

    def close(self) -> None:
        """End the session for good."""
        self.is_ready = False
        self.task.cancel()

"""Pings at a steady rate: middleboxes keep the caller's address, and round trips are measured."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_KEPT_RTTS = 10_000
_KEPT_PINGS = 128


class Heartbeat:
    """Calls `send` with a new ping's ID every `interval_s`; give it the IDs of the pongs."""

    def __init__(self, send: Callable[[int], None], interval_s: float) -> None:
        self._send = send
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._sent_at: dict[int, float] = {}
        self._next_id = 0
        self._timer: asyncio.TimerHandle | None = None
        self._measuring: dict[int, asyncio.Future[float]] = {}
        self.rtts_ms: deque[float] = deque(maxlen=_KEPT_RTTS)
        """From ping to pong, at the level of the application."""

    def start(self) -> None:
        """Send the first ping now, and those that are being measured again: what was under way may be lost."""
        if self._timer is not None:
            self._timer.cancel()
        for identifier in self._measuring:
            self._send(identifier)
        self._beat()

    def measure(self) -> asyncio.Future[float]:
        """Send a ping beside the steady ones; the future is its round trip in ms, cancelled if the call ends."""
        self._measuring[self._next_id] = measured = self._loop.create_future()
        self._ping()
        return measured

    def pong(self, identifier: int) -> bool:
        """Note an answer; `False` where no ping had this ID."""
        sent_at = self._sent_at.pop(identifier, None)
        if sent_at is None:
            return identifier < self._next_id
        rtt_ms = (self._loop.time() - sent_at) * 1000
        self.rtts_ms.append(rtt_ms)
        measured = self._measuring.pop(identifier, None)
        if measured is not None and not measured.done():
            measured.set_result(rtt_ms)
        return True

    def stop(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()
        for measured in self._measuring.values():
            measured.cancel()

    def _beat(self) -> None:
        self._timer = self._loop.call_later(self._interval_s, self._beat)
        self._ping()

    def _ping(self) -> None:
        if len(self._sent_at) >= _KEPT_PINGS:
            del self._sent_at[next(iter(self._sent_at))]
        self._sent_at[self._next_id] = self._loop.time()
        self._send(self._next_id)
        self._next_id += 1

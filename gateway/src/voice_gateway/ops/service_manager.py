"""Notifications to systemd: that a worker is ready, that it stops, and that its event loop turns (sd_notify(3))."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from quiclb.daemon.systemd import notify


class ServiceManager:
    """Call `ready` once the worker takes sessions, `stopping` when it drains, `close` in the end.

    With `WatchdogSec=` the event loop itself says twice in that time that it turns: systemd restarts a worker whose
    loop is blocked for longer. Nothing happens where the environment names no service manager.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._interval_s = watchdog_interval_s(environ)
        self._timer: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """Say that the worker is ready, and begin with the watchdog; raises `StartError` for a manager out of reach."""
        notify(self._environ, "READY=1")
        if self._interval_s is not None:
            self._turn(self._interval_s)

    def stopping(self) -> None:
        """Say that the worker drains; the watchdog goes on meanwhile."""
        notify(self._environ, "STOPPING=1")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self, interval_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(interval_s, self._turn, interval_s)
        notify(self._environ, "WATCHDOG=1")


def watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """Return half the time in which the service manager wants a sign of life; `None` where it wants none of us."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000

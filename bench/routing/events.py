"""What happens to the calls, one thing after the other, and what each call lost by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bench.peers.timing import FRAME_S, CallTimes
from bench.routing.implementations import Site

REDIS_AWAY_S: Final = 3.0
_AWAY_BEFORE_S: Final = 0.5
_BACK_S: Final = 1.0
"""A call is kept where frames are echoed in the last so many seconds before the next event."""

Happening = Callable[[Site], Awaitable[None]]


async def nothing(site: Site) -> None:
    """The control."""


async def move(site: Site) -> None:
    """All clients are at new addresses at once, as behind a NAT that restarts."""
    site.link.rebind()


async def add_backend(site: Site) -> None:
    await site.add_backend()


async def restart(site: Site) -> None:
    await site.restart()


@dataclass(frozen=True, slots=True)
class Event:
    """`window_s` is the time from the event's end to the next. Redis may be killed before it, and keeps its data."""

    name: str
    happen: Happening
    window_s: float = 4.0
    is_redis_away: bool = False


EVENTS: Final = (
    Event("no event (control)", nothing),
    Event("clients move", move),
    Event("a backend is added", add_backend),
    Event("load balancer killed, started again", restart),
    Event(f"clients move while Redis is away for {REDIS_AWAY_S:g} s", move, 7.0, is_redis_away=True),
    Event(
        f"load balancer killed, started again while Redis is away for {REDIS_AWAY_S:g} s",
        restart,
        7.0,
        is_redis_away=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Window:
    """When an event began and the next one did, on the machine's monotonic clock, and how long it took, in seconds."""

    event: Event
    began: float
    ended: float
    took: float


async def happen(site: Site, events: Sequence[Event] = EVENTS) -> list[Window]:
    """Let the events happen; a window begins with its event, a Redis that is killed is away before."""
    windows = []
    for event in events:
        if event.is_redis_away:
            await asyncio.to_thread(site.redis.stop)
            await asyncio.sleep(_AWAY_BEFORE_S)
        began = time.monotonic()
        returning = asyncio.create_task(_return(site)) if event.is_redis_away else None
        await event.happen(site)
        took = time.monotonic() - began
        await asyncio.sleep(event.window_s)
        if returning is not None:
            await returning
        windows.append(Window(event, began, time.monotonic(), took))
    return windows


async def _return(site: Site) -> None:
    await asyncio.sleep(REDIS_AWAY_S)
    await asyncio.to_thread(site.redis.start)


@dataclass(frozen=True, slots=True)
class Loss:
    """`gap_ms` is the longest wait for a frame of the echo beyond the usual 20 ms, up to the window's end."""

    gap_ms: float
    is_kept: bool


def loss_of(call: CallTimes, window: Window) -> Loss:
    """What one call lost in a window; a gap that began before it counts with its part inside."""
    times = sorted(at for _, at in call.received if window.began <= at < window.ended)
    marks = [window.began, *times, window.ended]
    gap_s = max(after - before for before, after in pairwise(marks))
    is_kept = bool(times) and times[-1] > window.ended - _BACK_S
    return Loss(round(max(0.0, 1000 * (gap_s - FRAME_S)), 1), is_kept)

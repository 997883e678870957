"""What happens to calls."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

from bench.survival.calls import Caller, Event
from deploy.local.cluster import Cluster
from testbed.redis_server import RedisServer

Callers = Sequence[Caller]
_APART_S = 0.1
"""Between callers who lose their network each for themselves: they do not dial in the same moment."""


async def _nothing(cluster: Cluster, callers: Callers) -> None:
    """The undisturbed call."""


async def _rebind(cluster: Cluster, callers: Callers) -> None:
    for caller in callers:
        caller.link.rebind()


async def _migrate(cluster: Cluster, callers: Callers) -> None:
    await asyncio.gather(*(each.client.migrate(local_address="127.0.0.3", keep_old_s=0.0) for each in callers))


async def _kill_balancer(cluster: Cluster, callers: Callers) -> None:
    await cluster.kill_balancer()
    await cluster.start_balancer()


async def _kill_forwarding_process(cluster: Cluster, callers: Callers) -> None:
    os.kill(cluster.forwarding_processes()[0], signal.SIGKILL)


async def _cut(cluster: Cluster, callers: Callers) -> None:
    for caller in callers:
        caller.strike()
        caller.link.cut()
        await asyncio.sleep(_APART_S)


NOTHING = Event(_nothing)
REBINDING = Event(_rebind)
MIGRATION = Event(_migrate)
BALANCER_KILL = Event(_kill_balancer)
FORWARDING_PROCESS_KILL = Event(_kill_forwarding_process)
NEW_ADDRESS = Event(_cut, is_way_open=True)
"""The path dies for good, as a browser's does when its interface changes: a new connection from elsewhere."""


def blackout(duration_s: float) -> Event:
    """Nothing passes, either way."""

    async def happen(cluster: Cluster, callers: Callers) -> None:
        for caller in callers:
            caller.link.is_black = True
        await asyncio.sleep(duration_s)
        for caller in callers:
            caller.link.is_black = False

    return Event(happen)


def worker_stall(victim: int, duration_s: float) -> Event:
    """A worker does nothing for a while and is healthy afterwards."""

    async def happen(cluster: Cluster, callers: Callers) -> None:
        pid = cluster.worker_pid(victim)
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(duration_s)
        finally:
            os.kill(pid, signal.SIGCONT)

    return Event(happen)


def worker_kill(victim: int) -> Event:
    """SIGKILL, and a new start at once."""

    async def happen(cluster: Cluster, callers: Callers) -> None:
        await cluster.kill_worker(victim)
        await cluster.start_worker(victim)
        await cluster.until_healthy()

    return Event(happen, is_way_open=True)


def drain(victim: int) -> Event:
    """SIGTERM, and a new start when it is gone."""

    async def happen(cluster: Cluster, callers: Callers) -> None:
        await cluster.terminate_worker(victim)
        await cluster.start_worker(victim)
        await cluster.until_healthy()

    # nor is the way open: the load balancer gives new connections to a worker that drains, which refuses them
    return Event(happen, is_sudden=False)


def rolling_restart(workers: int) -> Event:
    """All workers, one after the other."""

    async def happen(cluster: Cluster, callers: Callers) -> None:
        for index in range(workers):
            await drain(index).happen(cluster, callers)

    return Event(happen, is_sudden=False)


def redis_away(server: RedisServer, duration_s: float) -> Event:
    """The store is killed and comes back after a while, with what it had saved."""

    async def happen(cluster: Cluster, callers: Callers) -> None:
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(duration_s)
        await asyncio.to_thread(server.start)

    return Event(happen)

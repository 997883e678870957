"""The datapath for load: whole batches through recvmmsg, numpy and sendmmsg, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

from quiclb.datapath.base import Datapath, DatapathSetup, Side, SocketPair
from quiclb.datapath.counters import DatapathCounters
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.datapath.linux.sockets import open_sockets, receive_drops
from quiclb.datapath.vectorised.batch_loop import BatchLoop
from quiclb.net.address import Address, normalise
from quiclb.routing.table import RoutingTable


class VectorisedDatapath(Datapath):
    """Forwards batches in a thread that the first `install` starts. Linux only.

    `install` may be called from any thread: a batch sees the old table or the new one.
    """

    def __init__(self) -> None:
        self._setup: DatapathSetup | None = None
        self._sockets: SocketPair | None = None
        self._vip: Address = ("", 0)
        self._inner: Address = ("", 0)
        self._wake = -1
        self._rules: ForwardingRules | None = None
        self._thread: threading.Thread | None = None

    @property
    def vip(self) -> Address:
        return self._vip

    @property
    def inner(self) -> Address:
        return self._inner

    @property
    def counters(self) -> DatapathCounters:
        return DatapathCounters() if self._rules is None else self._rules.counters

    async def start(self, setup: DatapathSetup) -> None:
        sockets = setup.sockets or open_sockets(setup.listen, setup.inner)
        self._setup, self._sockets = setup, sockets
        self._vip, self._inner = normalise(sockets.vip.getsockname()), normalise(sockets.inner.getsockname())
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def install(self, table: RoutingTable) -> None:
        if self._rules is not None:
            self._rules.install(table)
        elif self._setup is not None and self._sockets is not None:
            self._rules = ForwardingRules.of(self._setup, table, self._vip, self._inner)
            loop = BatchLoop(self._sockets.vip, self._sockets.inner, self._wake, self._rules)
            self._thread = threading.Thread(
                target=_run, args=(loop, self._setup.events.failed), name="quiclb-datapath", daemon=True
            )
            self._thread.start()

    def receive_drops(self, side: Side) -> int | None:
        if self._sockets is None:
            return None
        return receive_drops(self._sockets.vip if side is Side.VIP else self._sockets.inner)

    async def close(self) -> None:
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        sockets.close()
        os.close(self._wake)


def _run(loop: BatchLoop, failed: Callable[[BaseException], None]) -> None:
    try:
        loop.run()
    except BaseException as error:
        failed(error)

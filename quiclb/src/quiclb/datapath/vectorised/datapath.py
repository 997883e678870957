"""The datapath for load: whole batches through recvmmsg, numpy and sendmmsg, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Final

from quiclb.datapath.base import Side
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.datapath.linux.sockets import SocketPair, receive_drops
from quiclb.datapath.vectorised.batch_loop import BatchLoop
from quiclb.net.address import normalise


class VectorisedDatapath:
    """Takes two bound sockets, such as `open_sockets` makes, and closes them. Linux only.

    `serve` starts the thread. The rules' table may be replaced at any time from any thread: a batch sees the old one or
    the new one. If forwarding ends by an exception, `failed` is told in the event loop that called `serve`.
    """

    def __init__(self, sockets: SocketPair) -> None:
        self._sockets = {Side.VIP: sockets.vip, Side.INNER: sockets.inner}
        self.vip: Final = normalise(sockets.vip.getsockname())
        self.inner: Final = normalise(sockets.inner.getsockname())
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def serve(self, rules: ForwardingRules, failed: Callable[[BaseException], None] = lambda error: None) -> None:
        """Forward from now on, in a new thread; call in a running event loop."""
        loop = BatchLoop(self._sockets[Side.VIP], self._sockets[Side.INNER], self._wake, rules)
        self._thread = threading.Thread(
            target=self._run, args=(loop, asyncio.get_running_loop(), failed), name="quiclb-datapath", daemon=True
        )
        self._thread.start()

    def receive_drops(self, side: Side) -> int | None:
        return receive_drops(self._sockets[side]) if self._sockets[side].fileno() >= 0 else None

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        for sock in self._sockets.values():
            sock.close()
        os.close(self._wake)

    @staticmethod
    def _run(forwarding: BatchLoop, owner: asyncio.AbstractEventLoop, failed: Callable[[BaseException], None]) -> None:
        try:
            forwarding.run()
        except BaseException as error:
            owner.call_soon_threadsafe(failed, error)

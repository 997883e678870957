"""The datapath for load: whole batches through recvmmsg, numpy and sendmmsg, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from typing import Final

import structlog

from quiclb.address import Address, normalise
from quiclb.datapath.base import Side
from quiclb.datapath.forwarding_loop import ForwardingLoop
from quiclb.datapath.sockets import open_socket, receive_drops
from quiclb.forwarder import ForwardingCore


def open_vectorised(vip: Address, inner: Address) -> VectorisedDatapath:
    """Bind both sides; raises `StartError`. Port 0 takes a free port. Linux only."""
    inner_socket = open_socket(inner, Side.INNER)
    try:
        vip_socket = open_socket(vip, Side.VIP)
    except BaseException:
        inner_socket.close()
        raise
    return VectorisedDatapath(vip_socket, inner_socket)


class VectorisedDatapath:
    """Made by `open_vectorised`, or with two bound sockets, which it closes.

    `serve` starts the thread. The core's table may be replaced at any time from any thread: a batch sees the old one or
    the new one. An exception that escapes ends the thread; `failure` then holds it.
    """

    def __init__(self, vip_socket: socket.socket, inner_socket: socket.socket) -> None:
        self._sockets = {Side.VIP: vip_socket, Side.INNER: inner_socket}
        self.vip: Final = normalise(vip_socket.getsockname())
        self.inner: Final = normalise(inner_socket.getsockname())
        self.failure: BaseException | None = None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: threading.Thread | None = None

    def serve(self, core: ForwardingCore) -> None:
        """Forward from now on, in a new thread."""
        loop = ForwardingLoop(self._sockets[Side.VIP], self._sockets[Side.INNER], self._wake, core)
        self._thread = threading.Thread(target=self._run, args=(loop,), name="quiclb-datapath", daemon=True)
        self._thread.start()

    def receive_drops(self, side: Side) -> int | None:
        return receive_drops(self._sockets[side]) if self._sockets[side].fileno() >= 0 else None

    async def close(self) -> None:
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        for sock in self._sockets.values():
            sock.close()
        os.close(self._wake)

    def _run(self, loop: ForwardingLoop) -> None:
        try:
            loop.run()
        except BaseException as error:
            self.failure = error
            structlog.get_logger().exception("datapath failed")

"""One worker's WebSocket, between the loop of sockets and the agent's."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from typing import Final

import structlog
from websockets.asyncio.server import ServerConnection

from voice_gateway.hosts.messages import FromWorker
from voice_gateway.hosts.process.served_call import ServedCall

MAX_UNREAD_BYTES: Final = 4 << 20
"""What one call may have waiting for a blocked agent; then the host reads no more of it."""
MESSAGE_COST_BYTES: Final = 512
"""What a message that waits costs besides its bytes."""
MAX_UNSENT_BYTES: Final = 16 << 20
"""What may wait for a worker that does not read; then its connection is closed."""
CLOSE_TIMEOUT_S: Final = 2.0
"""How long a connection that is closed may take to send what waits."""
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""A worker whose machine is gone is noticed after 25 s: until then its calls stay open here."""
_log = structlog.get_logger("voice_gateway.hosts")


class WorkerConnection:
    """One worker's WebSocket; `send` and `close_soon` may be called on either loop."""

    def __init__(self, socket: ServerConnection, loop: asyncio.AbstractEventLoop) -> None:
        self.socket = socket
        self.call: ServedCall | None = None
        self.is_closed = False
        self.received_bytes = 0
        """Written on the loop of sockets alone, as `handled_bytes` is on the agent's."""
        self.handled_bytes = 0
        self._loop = loop
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._wake = asyncio.Event()

    def handle(self, decoded: list[FromWorker] | tuple[int, bytes], size: int) -> None:
        """On the agent's loop: give the call what has arrived."""
        self.handled_bytes += size
        if self.call is None:
            return
        if isinstance(decoded, tuple):
            self.call.frame(*decoded)
        else:
            for message in decoded:
                self.call.take(message)

    def send(self, raw: bytes) -> None:
        with suppress(RuntimeError):  # the loop of sockets has ended
            self._loop.call_soon_threadsafe(self._queue, raw)

    def close_soon(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.close)

    def close(self) -> None:
        """Send what waits, and close."""
        if not self.is_closed:
            self._loop.call_later(CLOSE_TIMEOUT_S, self.socket.transport.abort)
        self.is_closed = True
        self._wake.set()

    async def write(self) -> None:
        while True:
            self._wake.clear()
            while self._unsent:
                raw = self._unsent.popleft()
                self._unsent_bytes -= len(raw) + MESSAGE_COST_BYTES
                await self.socket.send(raw)
            if self.is_closed:
                await self.socket.close()
                return
            await self._wake.wait()

    def _queue(self, raw: bytes) -> None:
        """On the loop of sockets: `write` may be waiting for a worker that does not read."""
        if self.is_closed:
            return
        self._unsent.append(raw)
        self._unsent_bytes += len(raw) + MESSAGE_COST_BYTES
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            _log.warning("host_worker_behind", peer=peer_of(self.socket), bytes=MAX_UNSENT_BYTES)
            self._unsent.clear()
            self.is_closed = True
            self.socket.transport.abort()
        self._wake.set()


def peer_of(connection: ServerConnection) -> str:
    """For logs."""
    peer = connection.remote_address
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) > 1 else "unix"


def keep_alive(connection: ServerConnection) -> None:
    """Notice a machine that is gone, where the connection crosses machines."""
    found = connection.transport.get_extra_info("socket")
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            found.setsockopt(socket.IPPROTO_TCP, option, value)

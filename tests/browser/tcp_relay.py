"""The way of the page itself and of its WebSockets, for browsers that cannot reach the gateway, or not always.

The development page answers to loopback hosts alone: a request names the server's own address behind the relay.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

CHUNK_BYTES = 65_536


class TcpRelay:
    """Passes on what comes to `address` while `has_light` is set, and keeps it back while it is not."""

    def __init__(self, server: str) -> None:
        self.address = ""
        self.has_light = asyncio.Event()
        self.has_light.set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._server_host, _, self._server_port = server.rpartition(":")

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError), closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")  # a browser also opens connections that it does not use
            far_reader, far_writer = await asyncio.open_connection(self._server_host, int(self._server_port))
            with closing(far_writer):
                server = f"{self._server_host}:{self._server_port}"
                far_writer.write(head.replace(self.address.encode(), server.encode()))
                await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        self.tasks.discard(task)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                await self.has_light.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def tcp_relay(host: str, server: str) -> AsyncIterator[TcpRelay]:
    """Listen on a free port of `host` for a `server` (`host:port`)."""
    relay = TcpRelay(server)
    listener = await asyncio.start_server(relay.accept, host, 0)
    relay.address = f"{host}:{listener.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        listener.close()
        tasks = [*relay.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""The way of the page itself, for a browser that cannot reach the gateway's address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK_OCTETS = 65_536


@asynccontextmanager
async def tcp_relay(host: str, server: str) -> AsyncIterator[str]:
    """Listen on a free port of `host`, pass what comes on to `server` (`host:port`), and say where."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server_host, server_port = server.split(":")
        with suppress(OSError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection(server_host, int(server_port))
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        tasks.discard(task)

    listener = await asyncio.start_server(accept, host, 0)
    try:
        yield f"{host}:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while octets := await reader.read(CHUNK_OCTETS):
            writer.write(octets)
            await writer.drain()
    finally:
        writer.close()

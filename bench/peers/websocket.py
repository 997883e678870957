"""Calls over a TLS WebSocket (the library `websockets`, TCP with CUBIC and TCP_NODELAY).

`serve ADDRESS PORT CERTIFICATE KEY PACE` echoes frames, or speaks once the first frame of a call is there: at the pace
"real", a frame each 20 ms, or as fast as speech is made. A call's connections share its ID, as behind a balancer that
is sticky by cookie. `call ADDRESS PORT CA SCRIPT COUNT SECONDS` places calls one after the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import ssl
import struct
import sys
import time
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import WebSocketException

from bench.peers.timing import (
    FRAME_S,
    MADE_FASTER,
    PAYLOAD_BYTES,
    SILENT_FOR_S,
    SPEECH_FRAMES,
    CallTimes,
    print_calls,
    say,
    stdin_ends,
    stdin_line,
)

_TAIL_S = 4.0


def _frame(sequence: int) -> bytes:
    return struct.pack("!I", sequence) + bytes(PAYLOAD_BYTES)


def _sequence(message: bytes | str) -> int:
    assert isinstance(message, bytes)
    return int(struct.unpack_from("!I", message)[0])


async def _serve(address: str, port: str, certificate: str, key: str, pace: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    received: dict[str, list[tuple[int, float]]] = {}

    async def converse(connection: ServerConnection) -> None:
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        frames = received.setdefault(query["call"][0], [])
        speaking = None
        with suppress(WebSocketException):
            async for message in connection:
                frames.append((_sequence(message), time.monotonic()))
                if query["script"] == ["listen"]:
                    speaking = speaking or asyncio.create_task(_speak(connection, pace))
                else:
                    await connection.send(message)
        if speaking is not None:
            speaking.cancel()

    async with serve(converse, address, int(port), ssl=context, compression=None, ping_interval=None):
        say("ready")
        await stdin_ends()
        say(json.dumps(list(received.values())))
        os._exit(0)  # connections that hang are of no interest


async def _speak(connection: ServerConnection, pace: str) -> None:
    start, interval = time.monotonic(), FRAME_S if pace == "real" else FRAME_S / MADE_FASTER
    for sequence in range(SPEECH_FRAMES):
        await asyncio.sleep(start + sequence * interval - time.monotonic())
        await connection.send(_frame(sequence))


class _Call:
    def __init__(self, address: str, port: str, authority: str, script: str) -> None:
        self._url = f"wss://{address}:{port}/?call={secrets.token_hex(8)}&script={script}"
        self._server = (address, int(port))
        self._context = ssl.create_default_context(cafile=authority)
        self.times = CallTimes()

    async def open(self) -> ClientConnection:
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, self._server)
        return await connect(
            self._url, sock=opened, ssl=self._context, compression=None, ping_interval=None, close_timeout=0.1
        )

    async def set_up(self) -> CallTimes:
        async with await self.open() as connection:
            self.times.connected = time.monotonic()
            self.times.sent.append((0, time.monotonic()))
            await connection.send(_frame(0))
            await connection.recv()
            self.times.back = time.monotonic()
        return self.times

    async def listen(self, seconds: float) -> CallTimes:
        connection = await self.open()
        await connection.send(_frame(0))
        with suppress(TimeoutError, WebSocketException):
            async with asyncio.timeout(seconds):
                while len(self.times.received) < SPEECH_FRAMES:
                    message = await connection.recv()
                    if not self.times.received:
                        say("first")
                    self.times.received.append((_sequence(message), time.monotonic()))
        return self.times

    async def talk(self, seconds: float) -> CallTimes:
        """Frames made while there is no connection wait for the next; those in a dead socket are lost."""
        waiting: asyncio.Queue[int] = asyncio.Queue()
        changed = asyncio.Event()
        watching = asyncio.create_task(self._watch(changed))
        carrying = asyncio.create_task(self._carry(waiting, changed))
        start = time.monotonic()
        for sequence in range(round(seconds / FRAME_S)):
            await asyncio.sleep(start + sequence * FRAME_S - time.monotonic())
            self.times.sent.append((sequence, time.monotonic()))
            waiting.put_nowait(sequence)
        await asyncio.sleep(_TAIL_S)
        watching.cancel()
        carrying.cancel()
        return self.times

    async def _watch(self, changed: asyncio.Event) -> None:
        while await stdin_line():
            changed.set()

    async def _carry(self, waiting: asyncio.Queue[int], changed: asyncio.Event) -> None:
        while True:
            try:
                async with asyncio.timeout(2.0):
                    connection = await self.open()
            except (OSError, TimeoutError, WebSocketException):
                await asyncio.sleep(0.1)
                continue
            if self.times.connected is None:
                self.times.connected = time.monotonic()
                say("ready")
            changed.clear()
            parts = [
                asyncio.create_task(part)
                for part in (self._send(connection, waiting), self._receive(connection), changed.wait())
            ]
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            connection.transport.abort()
            self.times.reconnects += 1

    async def _send(self, connection: ClientConnection, waiting: asyncio.Queue[int]) -> None:
        while True:
            await connection.send(_frame(await waiting.get()))

    async def _receive(self, connection: ClientConnection) -> None:
        with suppress(WebSocketException):
            while True:
                async with asyncio.timeout(SILENT_FOR_S):
                    await connection.recv()


async def _call(address: str, port: str, authority: str, script: str, count: str, seconds: str) -> None:
    calls = []
    for _ in range(int(count)):
        call = _Call(address, port, authority, script)
        if script == "setup":
            calls.append(await call.set_up())
        elif script == "listen":
            calls.append(await call.listen(float(seconds)))
        else:
            calls.append(await call.talk(float(seconds)))
    print_calls(calls)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run((_serve if sys.argv[1] == "serve" else _call)(*sys.argv[2:]))

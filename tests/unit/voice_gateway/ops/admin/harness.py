"""An admin interface over a session manager whose one agent the test plays, asked over HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from quiclb.net.address import Address
from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeTransport
from voice_gateway.ops.admin.access import AdminToken
from voice_gateway.ops.admin.call_operations import CallOperations
from voice_gateway.ops.admin.event_streams import EventStreams
from voice_gateway.ops.admin.operations import routes_of
from voice_gateway.ops.admin.server import admin_server
from voice_gateway.ops.admin.table import AdminParts, admin_operations
from voice_gateway.recording.library.reader_process import CallReader
from voice_gateway.session.manager import SessionManager
from voice_gateway.store.implementations.memory import MemoryStore
from voicelink.wire import Start

TOKEN = "a-token-of-the-operator"


@dataclass
class AdminBench:
    """`manager` has one session, `s-1`, once `call` was made; `drains` and `qlogs` are what was asked of the worker."""

    has_words: bool = False
    agent: FakeAgent = field(default_factory=FakeAgent)
    transport: FakeTransport = field(default_factory=FakeTransport)
    drains: list[float | None] = field(default_factory=list)
    qlogs: list[tuple[str, float]] = field(default_factory=list)
    address: Address = ("", 0)
    recordings: Path | None = None

    def __post_init__(self) -> None:
        self.manager = SessionManager("w-1", self.agent, MemoryStore(), new_id=lambda: "s-1", new_token=lambda: "token")
        streams = EventStreams(self.manager.events, has_words=self.has_words)
        calls = CallOperations(CallReader(self.recordings, None), lambda: {"calls.html": b"<p>", "calls.js": b"1"})
        parts = AdminParts(self.manager, CollectorRegistry(), streams, self._drain, self._qlog, calls)
        self.operations = admin_operations(parts)
        self.server = admin_server(routes_of(self.operations, AdminToken(TOKEN)))

    async def start(self) -> None:
        self.address = await self.server.start("admin.listen", ("127.0.0.1", 0), None)

    def call(self) -> None:
        """Begin the session."""
        self.manager.accept(REQUEST, self.transport).message_received(Start())

    async def ask(
        self, method: str, path: str, body: object = None, *, authorization: str | None = f"Bearer {TOKEN}"
    ) -> tuple[int, Any]:
        """Return the status and the JSON of the answer."""
        reader, writer = await asyncio.open_connection(*self.address)
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(content)}"]
        if authorization is not None:
            lines.append(f"Authorization: {authorization}")
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1]), json.loads(answer)

    async def watch(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream of events, and return once the worker sends them."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        await reader.readuntil(b": events follow\n\n")
        return reader, writer

    def _drain(self, deadline_s: float | None) -> float:
        self.drains.append(deadline_s)
        return 5.0 if deadline_s is None else deadline_s

    async def _qlog(self, connection: str, seconds: float) -> bytes:
        self.qlogs.append((connection, seconds))
        return b"{}"


async def next_event(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Return the next event of a stream."""
    lines = (await reader.readuntil(b"\n\n")).decode().strip().splitlines()
    event = dict(line.split(": ", 1) for line in lines)
    document: dict[str, Any] = json.loads(event["data"])
    assert event["event"] == document["event"]
    return document

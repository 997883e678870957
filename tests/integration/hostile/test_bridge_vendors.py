"""What a vendor's address does to a bridge: redirects get no key, logs hold none, odd messages end the call."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from voice_gateway.agents.bridges.bridge.upstream import Upstream, UpstreamHandler, UpstreamTimes
from voice_gateway.agents.bridges.bridge.vendor import LocateError, Message, Target
from voice_gateway.agents.bridges.elevenlabs import ElevenLabs, ElevenLabsSettings
from voice_gateway.agents.bridges.gemini import Gemini, GeminiSettings

KEY = "k-never-shown"


def recording(vendor: Gemini, failures: list[str]) -> UpstreamHandler:
    """Note how sessions end; take a message as the session of the vendor does."""
    session = vendor.session([])

    def receive(message: Message) -> None:
        session.receive(message)

    return UpstreamHandler(
        on_open=lambda: ["what the caller said"],
        on_message=receive,
        on_malformed=lambda _kind: None,
        on_lost=lambda _reason: None,
        on_failed=failures.append,
        position_ms=lambda: 0.0,
        on_received=lambda _position_ms: None,
    )


@asynccontextmanager
async def vendor_server(answer: Any, on_request: Any = None) -> AsyncIterator[str]:
    async with serve(answer, "127.0.0.1", 0, process_request=on_request) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def failure_at(url: str) -> str:
    vendor = Gemini(GeminiSettings(model="m", base_url=url))
    failures: list[str] = []
    times = UpstreamTimes(give_up_s=0.0, open_s=10.0)
    async with asyncio.timeout(30.0):
        await Upstream(vendor, vendor.target(KEY), recording(vendor, failures), times).run()
    return failures[-1]


async def test_a_key_does_not_follow_a_websocket_redirect() -> None:
    headers: list[Any] = []

    async def idle(socket: ServerConnection) -> None: ...

    def note(connection: ServerConnection, request: Request) -> None:
        headers.append(request.headers)

    async with vendor_server(idle, note) as elsewhere:

        def redirect(connection: ServerConnection, request: Request) -> Response:
            response = connection.respond(HTTPStatus.FOUND, "")
            response.headers["Location"] = elsewhere
            return response

        async with vendor_server(idle, redirect) as url:
            assert "redirects to another address" in await failure_at(url)
    assert headers == []


async def test_a_key_does_not_follow_a_redirect_of_the_signed_url() -> None:
    asked: list[str | None] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["xi-api-key"])
            if self.path.startswith("/v1"):
                self.send_response(302)
                self.send_header("Location", "/elsewhere")
            else:
                self.send_response(404)
            self.end_headers()

        def log_message(self, *_args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        vendor = ElevenLabs(ElevenLabsSettings(agent_id="a", base_url=f"http://127.0.0.1:{server.server_port}"))
        with pytest.raises(LocateError) as refused:
            await vendor.locate(vendor.target(KEY))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (refused.value.status, asked) == (302, [KEY])


async def test_no_log_at_any_level_holds_the_key_or_a_payload(caplog: pytest.LogCaptureFixture) -> None:
    async def hear(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.close()

    caplog.set_level(logging.DEBUG, logger="websockets.client")
    async with vendor_server(hear) as url:
        await failure_at(url)
    written = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    assert [line for line in written if KEY in line or "the caller said" in line] == []


async def test_a_message_nested_beyond_measure_ends_the_call_with_a_sentence() -> None:
    async def nest(socket: ServerConnection) -> None:
        await socket.send('{"x":' + "[" * 100_000)
        await socket.wait_closed()

    async with vendor_server(nest) as url:
        assert await failure_at(url) == "Gemini Live sent what cannot be taken: RecursionError"


def test_a_target_shows_no_key() -> None:
    assert KEY not in repr(Target("wss://x", {"a": KEY}))

"""The signalling of a LiveKit room, led over the call's link; each ICE agent is shown the link in place of the other.

A WebSocket server on loopback, which LiveKit's SDK dials in place of the room's server. It passes on what the two say
(protobuf messages of `livekit_rtc.proto`), but for ICE candidates: the server's become the near end of the link, the
caller's are left out, and so are TURN, STUN and ICE over TCP.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterable, Callable
from contextlib import suppress
from typing import Any, Final, Self
from urllib.parse import urlsplit

from livekit.protocol.rtc import SignalRequest, SignalResponse
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.http11 import Request, Response

from voice_eval.network.link import Address, TcpUdpLink

_OPEN_TIMEOUT_S: Final = 15.0
_CANDIDATE: Final = re.compile(r"^(candidate:\S+ \d+ udp \d+) (\S+) (\d+) typ host", re.IGNORECASE)
_SDP_CANDIDATE: Final = re.compile(r"(?m)^a=((?:candidate:|end-of-candidates).*)\r?\n")


class Signalling:
    """Use as `async with`; the SDK dials `url`."""

    def __init__(self, server_url: str, link: TcpUdpLink, tls: ssl.SSLContext | None = None) -> None:
        self._parts = urlsplit(server_url)
        self._tls = tls
        self._link = link
        self._upstreams: dict[ServerConnection, ClientConnection] = {}

    async def __aenter__(self) -> Self:
        self._server: Server = await serve(
            self._pass, "127.0.0.1", 0, process_request=self._dial, compression=None, max_size=None, close_timeout=0.5
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        host, port = next(iter(self._server.sockets)).getsockname()[:2]
        return f"ws://{host}:{port}"

    async def _dial(self, connection: ServerConnection, request: Request) -> Response | None:
        """Dial the server as the SDK has dialled here; what that refuses is refused here."""
        host, port = self._link.address
        headers = {name: request.headers[name] for name in ("Authorization",) if name in request.headers}
        try:
            upstream = await connect(
                f"{self._parts.scheme}://{self._parts.netloc}{request.path}",
                host=host,
                port=port,
                ssl=self._tls,
                additional_headers=headers,
                compression=None,
                max_size=None,
                open_timeout=_OPEN_TIMEOUT_S,
                close_timeout=0.5,
            )
        except InvalidStatus as error:
            body = (error.response.body or b"").decode(errors="replace")
            return connection.respond(error.response.status_code, body)
        except (OSError, TimeoutError, EOFError, WebSocketException) as error:
            return connection.respond(502, str(error) or type(error).__name__)
        self._upstreams[connection] = upstream
        return None

    async def _pass(self, connection: ServerConnection) -> None:
        upstream = self._upstreams.pop(connection)
        tasks = [
            asyncio.create_task(_copy(connection, upstream.send, request_without_candidates)),
            asyncio.create_task(_copy(upstream, connection.send, self._response)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await upstream.close()

    def _response(self, data: bytes) -> bytes | None:
        changed, upstream = response_led_to(data, self._link.datagrams.address)
        if upstream is not None:
            self._link.datagrams.upstream = upstream
        return changed


async def _copy(
    source: AsyncIterable[str | bytes], send: Callable[[str | bytes], Any], change: Callable[[bytes], bytes | None]
) -> None:
    with suppress(ConnectionClosed):
        async for message in source:
            changed = change(message) if isinstance(message, bytes) else message
            if changed is not None:
                await send(changed)


def request_without_candidates(data: bytes) -> bytes | None:
    """Return a message to the server without the caller's addresses, `None` where nothing is left."""
    message = SignalRequest.FromString(data)
    match message.WhichOneof("message"):
        case "trickle":
            return None
        case "offer" | "answer" as kind:
            description = getattr(message, kind)
            description.sdp = _SDP_CANDIDATE.sub("", description.sdp)
            return bytes(message.SerializeToString())
    return data


def response_led_to(data: bytes, address: Address) -> tuple[bytes | None, Address | None]:
    """Return a message to the caller that names this address in place of the server's, and the server's own.

    `None` in place of a message where nothing is left of it.
    """
    message = SignalResponse.FromString(data)
    match message.WhichOneof("message"):
        case "join" | "reconnect" as kind:
            del getattr(message, kind).ice_servers[:]
        case "trickle":
            init = json.loads(message.trickle.candidateInit)
            led, upstream = _led_to(init.get("candidate", ""), address)
            if led is None:
                return None, None
            message.trickle.candidateInit = json.dumps({**init, "candidate": led})
            return message.SerializeToString(), upstream
        case "offer" | "answer" as kind:
            description = getattr(message, kind)
            found: list[Address] = []

            def changed(match: re.Match[str]) -> str:
                led, upstream = _led_to(match[1], address)
                found.extend([upstream] if upstream else [])
                return f"a={led}\r\n" if led else ""

            description.sdp = _SDP_CANDIDATE.sub(changed, description.sdp)
            return message.SerializeToString(), found[0] if found else None
        case _:
            return data, None
    return message.SerializeToString(), None


def _led_to(candidate: str, address: Address) -> tuple[str | None, Address | None]:
    """Return the candidate at this address, and where it was; `None` for one that the link does not carry."""
    match = _CANDIDATE.match(candidate)
    if match is None or ":" in match[2]:
        return None, None
    return f"{match[1]} {address[0]} {address[1]} typ host", (match[2], int(match[3]))

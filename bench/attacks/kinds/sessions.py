"""Attacks in sessions that were accepted: timestamps too far apart, frames behind a gap, sessions that never start."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench.attacks.target import Target
from voice_client.errors import ClientError
from voice_client.transport.connect import connect as open_session
from voice_client.transport.credentials import CredentialStore
from voice_client.transport.target import Target as Service
from voice_client.transport.target import parse_url
from voice_client.transport.trust import trust
from voice_client.transport.webtransport.connection import WebTransportConnection
from voicelink.wire import (
    AudioFrame,
    Codec,
    Start,
    UplinkDatagram,
    UplinkMode,
    encode_audio_frame,
    encode_message,
    encode_uplink_datagram,
    length_prefixed,
)

CONTROL, UPLINK_AUDIO = b"\0", b"\1"
"""The first byte of a message over a WebSocket (PROTOCOL.md, "Over one WebSocket")."""
OPUS_FRAME = bytes((0x48, *range(60, 93)))
PAUSE_S = 1.0
ODD_PATHS = ("//[", "/v1/voice?//[", "//[::1", "http://[/", "*", "/" + "a" * 4_000, "/v1/voice/..%00")


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _voice_socket(target: Target) -> connect:
    host, port = target.websocket
    return connect(
        f"wss://{host}:{port}/v1/voice",
        ssl=_context(),
        ping_interval=None,
        local_addr=("127.0.0.8", 0),
        close_timeout=1,
    )


async def _drain(socket: ClientConnection) -> None:
    async for _ in socket:
        pass


def media_time(target: Target, until: float) -> None:
    """Opus frames whose timestamps are 2 s apart."""
    asyncio.run(_media_time(target, until))


async def _media_time(target: Target, until: float) -> None:
    while time.monotonic() < until:
        try:
            async with _voice_socket(target) as socket:
                draining = asyncio.create_task(_drain(socket))
                await socket.send(CONTROL + encode_message(Start()))
                for sequence in range(3_000):
                    frame = AudioFrame(sequence, sequence * 96_960, Codec.OPUS, OPUS_FRAME)
                    await socket.send(UPLINK_AUDIO + encode_audio_frame(frame))
                await asyncio.sleep(PAUSE_S)
                draining.cancel()
        except (OSError, WebSocketException):
            await asyncio.sleep(PAUSE_S)


class _Silent:
    """A session that starts, or does not, and then only sends datagrams."""

    def __init__(self, start: Start | None) -> None:
        self._start = start

    def session_requested(self, connection: WebTransportConnection) -> None:
        if self._start is not None:
            control = connection.open_stream(is_unidirectional=False)
            connection.send(control, length_prefixed(encode_message(self._start)))

    def stream_received(self, stream_id: int, data: bytes, is_ended: bool) -> None: ...
    def stream_reset(self, stream_id: int) -> None: ...
    def datagram_received(self, data: bytes) -> None: ...
    def path_changed(self) -> None: ...
    def session_draining(self) -> None: ...
    def session_closed(self, error: ClientError | None) -> None: ...


async def _session(target: Target, local: str, start: Start | None, path: str | None = None) -> WebTransportConnection:
    service = parse_url(target.url)
    return await open_session(
        service if path is None else Service(service.host, service.port, path),
        trust(None, target.ca_file),
        _Silent(start),
        credentials=CredentialStore(),
        headers={},
        local_address=local,
        timeout_s=5.0,
        rng=os.urandom,
    )


def frames_behind_a_gap(target: Target, until: float) -> None:
    """Eight sessions by hybrid uplink whose first frame never comes, and 3,000 large ones behind it."""
    asyncio.run(_frames_behind_a_gap(target, until))


async def _frames_behind_a_gap(target: Target, until: float) -> None:
    while time.monotonic() < until:
        try:
            sessions = [
                await _session(target, f"127.0.8.{1 + index}", Start(uplink=UplinkMode.HYBRID)) for index in range(8)
            ]
        except ClientError:
            await asyncio.sleep(PAUSE_S)
            continue
        await asyncio.gather(*(_fill(each, until) for each in sessions))
        for each in sessions:
            each.abandon()


async def _fill(session: WebTransportConnection, until: float) -> None:
    for number, datagram in enumerate(_behind_a_gap()):
        if number % 20 == 19:
            await asyncio.sleep(0.1)
        if time.monotonic() > until:
            return
        session.send_datagram(datagram)


def _behind_a_gap() -> Iterator[bytes]:
    for number in range(3_000):
        frame = AudioFrame(number + 1, (number + 1) * 960, Codec.PCM16_24K, bytes(1_000))
        yield encode_uplink_datagram(UplinkDatagram(number, 0, (frame,)))


def odd_paths(target: Target, until: float) -> None:
    """Requests for WebTransport sessions whose `:path` is none, or names nothing."""
    asyncio.run(_odd_paths(target, until))


async def _odd_paths(target: Target, until: float) -> None:
    number = 0
    while time.monotonic() < until:
        path = ODD_PATHS[number % len(ODD_PATHS)]
        number += 1
        with suppress(ClientError):
            (await _session(target, f"127.0.5.{1 + number % 200}", None, path)).abandon()


def sessions_that_never_start(target: Target, until: float) -> None:
    """130 connections of one address that ask for a session and say nothing."""
    asyncio.run(_never_start(target, until))


async def _never_start(target: Target, until: float) -> None:
    held: list[WebTransportConnection] = []
    while time.monotonic() < until:
        try:
            held.append(await _session(target, "127.0.0.7", None))
        except ClientError:
            await asyncio.sleep(0.2)
        if len(held) > 130:
            held.pop(0).abandon()
        await asyncio.sleep(0.02)
    for each in held:
        each.abandon()

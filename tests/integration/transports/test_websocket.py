"""A worker in this process, called over a real WebSocket with TLS."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.transport.websocket import Kind
from voice_gateway.worker.worker import Worker
from voicelink.wire import (
    AudioFrame,
    Bye,
    CloseCode,
    Codec,
    Heard,
    Played,
    Ready,
    Resume,
    Speech,
    Start,
    Transcript,
    decode_server_message,
    encode_audio_frame,
    encode_message,
)

TOKEN = "sesame"
SAID = (np.sin(np.arange(8_000) / 6) * 9000).astype("<i2").tobytes() + bytes(16_000 * 2)


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    ensure_certificate(tmp_path, now=time.time())
    settings = GatewaySettings.model_validate(
        {
            "worker": {"name": "worker-1", "listen": "127.0.0.1:0"},
            "tls": {"certificate": tmp_path / "leaf.pem", "key": tmp_path / "leaf.key"},
            "agent": {"name": "echo"},
            "access": {"token": TOKEN},
            "websocket": {"listen": "127.0.0.1:0"},
        }
    )
    worker = Worker(settings)
    await worker.start()
    yield worker
    await worker.stop(0.0)


def dial(worker: Worker, tmp_path: Path, token: str = TOKEN) -> connect:
    assert worker.addresses.websocket
    host, port = worker.addresses.websocket
    tls = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    return connect(f"wss://{host}:{port}/v1/voice?token={token}", ssl=tls, max_queue=None)


async def say(socket: ClientConnection, kind: Kind, body: bytes) -> None:
    await socket.send(bytes((kind,)) + body)


async def listen(socket: ClientConnection, messages: list[object], frames: list[bytes]) -> None:
    """Take what the worker says, and report it as played."""
    while True:
        data = await socket.recv()
        assert isinstance(data, bytes)
        match Kind(data[0]):
            case Kind.CONTROL:
                messages.append(decode_server_message(data[1:]))
            case Kind.DOWNLINK_AUDIO:
                frames.append(data)
            case Kind.END:
                played = Played(utterance_id=data[1], position_ms=len(frames) * 20, is_complete=True)
                await say(socket, Kind.CONTROL, encode_message(played))


async def test_a_call_is_answered_saved_and_ended(worker: Worker, tmp_path: Path) -> None:
    messages: list[object] = []
    frames: list[bytes] = []
    async with asyncio.timeout(20), dial(worker, tmp_path) as socket:
        await say(socket, Kind.CONTROL, encode_message(Start(accept=(Codec.PCM16_16K,))))
        for sequence, offset in enumerate(range(0, len(SAID), 640)):
            frame = AudioFrame(sequence, sequence * 960, Codec.PCM16_16K, SAID[offset : offset + 640])
            await say(socket, Kind.UPLINK_AUDIO, encode_audio_frame(frame))
        await say(socket, Kind.CONTROL, encode_message(Bye(frames=75)))
        with pytest.raises(ConnectionClosed) as closed:
            await listen(socket, messages, frames)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "bye")
    kinds = [type(message) for message in messages]
    assert kinds[0] is Ready
    assert kinds[-1] is Bye
    assert {Transcript, Speech, Heard} <= set(kinds)
    assert len(frames) > 20
    (session,) = worker.sessions.ended()
    assert (session.transport, session.turn, session.acked_sequence) == ("websocket", 1, 74)


async def test_a_wrong_token_is_refused_by_status(worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await dial(worker, tmp_path, token="wrong")
    assert refused.value.response.status_code == 401
    assert worker.sessions.counters.refused == {(401, "token_wrong"): 1}


async def test_a_caller_that_cannot_see_a_status_is_refused_by_a_close_code(worker: Worker, tmp_path: Path) -> None:
    async with asyncio.timeout(20), dial(worker, tmp_path, token="wrong&refusal=close") as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4005
    assert "access token" in closed.value.rcvd.reason


async def test_a_caller_that_leaves_a_connection_keeps_its_session(worker: Worker, tmp_path: Path) -> None:
    async def ready(socket: ClientConnection, first: Start | Resume) -> Ready:
        await say(socket, Kind.CONTROL, encode_message(first))
        data = await socket.recv()
        assert isinstance(data, bytes)
        message = decode_server_message(data[1:])
        assert isinstance(message, Ready)
        return message

    async with asyncio.timeout(20):
        async with dial(worker, tmp_path) as socket:
            before = await ready(socket, Start())
            await socket.close(4000 + CloseCode.TAKEN_OVER)
        async with dial(worker, tmp_path) as socket:
            after = await ready(socket, Resume(session=before.session, token=before.token or ""))
            assert after.session == before.session
            assert not worker.sessions.ended()

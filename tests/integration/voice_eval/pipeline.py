"""A server that speaks as a Pipecat pipeline does over its WebSocket: hears a sentence, calls a tool, answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from voice_eval.drivers.pipecat import audio_frame, fields

QUIET_FRAMES = 20
TEXT = "a small taro"


def _message(kind: str, data: dict[str, Any]) -> bytes:
    text = json.dumps({"label": "rtvi-ai", "type": kind, "id": "1", "data": data}).encode()
    # field 1 of MessageFrame, which is field 4 of Frame; lengths of two bytes
    inner = b"\x0a" + _length(len(text)) + text
    return b"\x22" + _length(len(inner)) + inner


def _length(size: int) -> bytes:
    return bytes((size & 0x7F | 0x80, size >> 7))


async def _converse(connection: ServerConnection) -> None:
    loud = quiet = 0
    try:
        async for message in connection:
            for number, value in fields(message if isinstance(message, bytes) else b""):
                if number != 2 or not isinstance(value, bytes):
                    continue
                pcm = np.frombuffer(bytes(dict(fields(value))[3]), "<i2")
                is_loud = bool(np.abs(pcm.astype(int)).max() > 500)
                loud, quiet = loud + is_loud, 0 if is_loud else quiet + 1
                if loud > 5 and quiet == QUIET_FRAMES:
                    loud = 0
                    await _answer(connection)
    except ConnectionClosed:
        return


async def _answer(connection: ServerConnection) -> None:
    call = {"function_name": "kitchen", "tool_call_id": "1", "args": {"order": TEXT}}
    for kind, data in (
        ("user-transcription", {"text": TEXT, "final": True}),
        ("llm-function-call", call),
        ("server-message", {"state": {"items": [TEXT]}}),
        ("bot-output", {"text": "One taro."}),
    ):
        await connection.send(_message(kind, data))
    tone = (6_000 * np.sin(np.arange(480) * 2 * np.pi * 300 / 24_000)).astype("<i2").tobytes()
    for _ in range(15):
        await connection.send(audio_frame(tone, 24_000))
        await asyncio.sleep(0.02)


@contextmanager
def pipeline() -> Iterator[str]:
    """Serve in a thread of its own; yields the URL."""
    loop = asyncio.new_event_loop()
    started: list[Any] = []

    async def start() -> None:
        started.append(await serve(_converse, "127.0.0.1", 0))

    async def stop() -> None:
        started[0].close()
        await started[0].wait_closed()

    thread = threading.Thread(target=loop.run_forever, name="pipeline")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        host, port = next(iter(started[0].sockets)).getsockname()[:2]
        yield f"ws://{host}:{port}"
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

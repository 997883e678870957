"""A server that speaks as a Pipecat pipeline does over MoQ: hears a sentence, calls a tool, answers ahead of time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import moq
import numpy as np

TEXT = "a small taro"
RATE_HZ = 24_000
QUIET_FRAMES = 20
MESSAGES = "transcript.json.z"
ANSWER = (
    ("user-transcription", {"text": TEXT, "final": True}),
    ("llm-function-call", {"function_name": "kitchen", "tool_call_id": "1", "args": {"order": TEXT}}),
    ("server-message", {"state": {"items": [TEXT]}}),
    ("bot-output", {"text": "One taro."}),
)
TONE = (6_000 * np.sin(np.arange(RATE_HZ * 2) * 2 * np.pi * 300 / RATE_HZ)).astype("<i2").tobytes()


@dataclass
class MoqPipeline:
    """`port` and `fingerprint` of the pipeline or its relay are for callers; `received` has their messages."""

    port: int
    fingerprint: str
    received: list[dict[str, Any]]


@asynccontextmanager
async def moq_pipeline(*, has_relay: bool) -> AsyncIterator[MoqPipeline]:
    """Serve one caller, or meet it at a relay."""
    origin, heard = moq.OriginProducer(), moq.OriginProducer()
    response = origin.create_broadcast("pipecat/response")
    messages = response.publish_json_stream(MESSAGES, compression=True)
    audio = response.encode_audio(
        "bot-audio",
        moq.AudioEncoderInput(format=moq.AudioSampleFormat.S16, sample_rate=RATE_HZ, channels=1),
        moq.AudioEncoderOutput(
            codec=moq.AudioCodec.opus(), sample_rate=48_000, channels=None, bitrate=None, frame_duration_us=20_000
        ),
    )
    response.announce()
    shared = moq.OriginProducer() if has_relay else origin
    async with (
        moq.Server("127.0.0.1:0", publish=shared, subscribe=shared, tls_generate=["localhost"]) as server,
        AsyncExitStack() as stack,
    ):
        port = int(server.local_addr.rsplit(":", 1)[1])
        fingerprint = server.cert_fingerprints()[0]  # asked while it serves, it may be busy
        tasks = [asyncio.create_task(server.serve())]
        if has_relay:
            url = f"https://127.0.0.1:{port}/moq"
            options = {"tls_verify": False, "websocket_enabled": False}
            await stack.enter_async_context(moq.Client(url, publish=origin, subscribe=heard, **options))
        received: list[dict[str, Any]] = []
        callers = heard if has_relay else shared
        tasks.append(asyncio.create_task(_converse(callers, audio, messages, received)))
        try:
            yield MoqPipeline(port, fingerprint, received)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _converse(origin: Any, audio: Any, messages: Any, received: list[dict[str, Any]]) -> None:
    caller = await origin.consume().announced_broadcast("pipecat/request").available()
    catalog = await caller.catalog()
    name, track = next(iter(catalog.audio.items()))
    wanted = moq.AudioDecoderOutput(
        format=moq.AudioSampleFormat.S16, sample_rate=16_000, channels=1, max_age_us=30_000_000
    )
    heard = await caller.decode_audio(name, track, wanted)
    following = asyncio.create_task(_follow(await caller.subscribe_json_stream(MESSAGES, compression=True), received))
    loud = quiet = sequence = 0
    try:
        async for frame in heard:
            is_loud = bool(np.abs(np.frombuffer(frame.data, "<i2").astype(int)).max(initial=0) > 500)
            loud, quiet = loud + is_loud, 0 if is_loud else quiet + 1
            if loud > 5 and quiet == QUIET_FRAMES:
                loud = 0
                audio.write(moq.AudioFrame(timestamp_us=0, data=TONE))
                for kind, data in ANSWER:
                    record = {"label": "rtvi-ai", "type": kind, "id": "1", "data": data}
                    messages.append({**record, "seq": sequence, "epoch": "a"})
                    sequence += 1
        await asyncio.wait((following,), timeout=10.0)  # what was sent before the end of the sound may be read after it
    finally:
        following.cancel()


async def _follow(stream: Any, received: list[dict[str, Any]]) -> None:
    async for message in stream:
        received.append(message)

"""One call to a Pipecat pipeline over MoQ: Opus packets as they are, one group each, and pings as RTVI messages."""

from __future__ import annotations

import asyncio
import struct
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from bench.capacity.jitter import Jitter
from bench.capacity.moq_callers.echoed_frames import BLOCK_MS, EchoedFrames
from bench.capacity.traffic import RATE_HZ, TICKS_PER_MS, TrafficPattern
from voicelink.audio.codecs.opus import OpusDecoder
from voicelink.wire import Malformed

PING_INTERVAL_S: Final = 0.25
OPEN_TIMEOUT_S: Final = 30.0
_MESSAGES: Final = "transcript.json.z"
_MOST_LATE_US: Final = 30_000_000
"""As the buffer of Pipecat's client: nothing is skipped for being late."""
_OPUS_HEAD: Final = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, 48_000, 0, 0)
"""RFC 7845 section 5.1: version 1, one channel, pre-skip, rate, no gain, mapping family 0."""
_BLOCK_SAMPLES: Final = round(RATE_HZ * BLOCK_MS / 1000)


class Observer(Protocol):
    """Counts what happens in calls."""

    def sent(self, behind_ms: float) -> None: ...
    def received(self, size: int, late_ms: list[float], jitter_ms: list[float]) -> None: ...
    def pong(self, late_ms: float) -> None: ...


@dataclass(frozen=True, slots=True)
class PipelineSession:
    """A session whose pipeline has subscribed to the caller's audio."""

    audio: Any
    messages: Any
    response: Any
    rendition: tuple[str, Any]


@asynccontextmanager
async def connected(server: str) -> AsyncIterator[PipelineSession]:
    """Have the server at `HOST:PORT` start a pipeline, and call it."""
    import moq

    address = await asyncio.to_thread(_start, server)
    published, subscribed = moq.OriginProducer(), moq.OriginProducer()
    request = published.create_broadcast("pipecat/request")
    messages = request.publish_json_stream(_MESSAGES, compression=True)
    audio = request.publish_audio(moq.AudioFormat.OPUS, _OPUS_HEAD, track="audio")
    request.announce()
    client = moq.Client(
        f"https://{address}/moq",
        tls_verify=False,
        websocket_enabled=False,
        reconnect=False,
        publish=published,
        subscribe=subscribed,
    )
    async with client:
        response = await client.announced_broadcast("pipecat/response").available()
        catalog = await response.catalog()
        rendition = next(iter(catalog.audio.items()))
        await audio.used()
        try:
            yield PipelineSession(audio, messages, response, rendition)
        finally:
            for producer in (audio, messages, request):
                with suppress(moq.Error):
                    producer.finish()


def _start(server: str) -> str:
    with urllib.request.urlopen(f"http://{server}/", data=b"", timeout=OPEN_TIMEOUT_S) as answer:
        return str(answer.read().decode())


class MoqCall:
    """One call, which sends the pattern from `offset` on, and pings."""

    def __init__(self, session: PipelineSession, pattern: TrafficPattern, offset: int, observer: Observer) -> None:
        self._session = session
        self._pattern = pattern
        self._offset = offset
        self._observer = observer
        self._echoes = EchoedFrames()
        self._began = time.monotonic()  # not the loop's time, which uvloop rounds to milliseconds

    async def run(self) -> None:
        """Raise what ends it; it lasts until it is cancelled."""
        tasks = [asyncio.create_task(each) for each in (self._listen(), self._follow(), self._ping(), self._speak())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
            raise ConnectionError("the pipeline ended its tracks")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _speak(self) -> None:
        sequence = 0
        while self._pattern.frames:
            tick, packet = self._pattern.frame(self._offset, sequence)
            due = self._began + tick / TICKS_PER_MS / 1000
            await self._until(due)
            self._observer.sent(self._late_ms(due))
            self._echoes.sent(due, is_speech=self._pattern.is_speech(self._offset, sequence))
            self._session.audio.write_frame(packet, round(tick / TICKS_PER_MS * 1000))
            self._session.audio.cut()  # a group, and so a stream, for each packet: as moq-rs does with what it encodes
            sequence += 1
        await asyncio.Event().wait()

    async def _ping(self) -> None:
        number = 0
        while True:
            await self._until(self._began + number * PING_INTERVAL_S)
            self._session.messages.append({"type": "ping", "number": number})
            number += 1

    async def _follow(self) -> None:
        async for message in await self._session.response.subscribe_json_stream(_MESSAGES, compression=True):
            if message.get("type") == "ping":
                self._observer.pong(self._late_ms(self._began + message["number"] * PING_INTERVAL_S))

    async def _listen(self) -> None:
        import moq

        name, audio = self._session.rendition
        decoder, jitter = OpusDecoder(RATE_HZ), Jitter()
        wanted = moq.Subscription(max_age_us=_MOST_LATE_US)
        async for frame in await self._session.response.subscribe_media(name, audio, wanted):
            at = time.monotonic()
            sound = decoder.decode(frame.payload)
            if isinstance(sound, Malformed):  # empty: the encoder began anew, behind a gap of 250 ms
                continue
            pcm = np.frombuffer(sound, "<i2").astype(np.float32).reshape(-1, _BLOCK_SAMPLES)
            levels = np.sqrt((pcm * pcm).mean(axis=1)).tolist()
            late_ms = self._echoes.received(at, frame.timestamp_us / 1000, levels)
            self._observer.received(len(frame.payload), late_ms, [jitter.came(each) for each in late_ms])

    async def _until(self, due: float) -> None:
        if (left := due - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def _late_ms(self, due: float) -> float:
        return 1000 * max(0.0, time.monotonic() - due)

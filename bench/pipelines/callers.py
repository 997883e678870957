"""Callers of the three transports: all give a frame of 20 ms each 20 ms, and play what they get."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bench.pipelines.ears import Ears, Loudspeaker
from voice_client import AudioOptions, Security, VoiceClient

INPUT_HZ: Final = 16_000
_FRAME_S: Final = 0.02
_MOST_LATE_US: Final = 30_000_000


class Caller(ABC):
    """A connected caller."""

    def __init__(self, ears: Ears) -> None:
        self.ears = ears

    @abstractmethod
    async def send(self, pcm: bytes) -> None:
        """Send 20 ms of PCM16 at 16 kHz."""


class _GatewayCaller(Caller):
    def __init__(self, client: VoiceClient, ears: Ears) -> None:
        super().__init__(ears)
        self._client = client

    async def send(self, pcm: bytes) -> None:
        self._client.send_pcm(pcm)


class _WebSocketCaller(Caller):
    def __init__(self, connection: Any) -> None:
        self.loudspeaker = Loudspeaker()
        super().__init__(self.loudspeaker)
        self._connection = connection
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()

    async def send(self, pcm: bytes) -> None:
        import pipecat.frames.protobufs.frames_pb2 as messages

        message = messages.Frame()
        message.audio.audio, message.audio.sample_rate, message.audio.num_channels = pcm, INPUT_HZ, 1
        self._waiting.put_nowait(message.SerializeToString())

    async def write(self) -> None:
        while True:
            await self._connection.send(await self._waiting.get())

    async def read(self) -> None:
        import pipecat.frames.protobufs.frames_pb2 as messages

        with suppress(ConnectionClosed):
            async for contents in self._connection:
                message = messages.Frame.FromString(contents)
                if message.WhichOneof("frame") == "audio":
                    self.loudspeaker.push(message.audio.audio)
                elif message.WhichOneof("frame") == "interruption":
                    self.loudspeaker.flush()


class _MoqCaller(Caller):
    """As Pipecat's own client does: it drops what it has queued when the server hears the user."""

    def __init__(self, producer: Any) -> None:
        self.loudspeaker = Loudspeaker()
        super().__init__(self.loudspeaker)
        self._producer = producer
        self._sent_us = 0

    async def send(self, pcm: bytes) -> None:
        import moq

        self._producer.write(moq.AudioFrame(timestamp_us=self._sent_us, data=pcm))
        self._sent_us += round(_FRAME_S * 1_000_000)

    async def read(self, broadcast: Any) -> None:
        async for frame in await decoded_audio(broadcast):
            self.loudspeaker.push(frame.data)

    async def follow(self, broadcast: Any) -> None:
        async for message in await broadcast.subscribe_json_stream("transcript.json.z", compression=True):
            if message.get("type") == "user-started-speaking":
                self.loudspeaker.flush()


@asynccontextmanager
async def gateway_caller(host: str, port: int, ca_file: str) -> AsyncIterator[Caller]:
    """Call through the gateway, with the SDK as it is."""
    ears = Ears()
    client = VoiceClient(
        f"https://{host}:{port}/v1/voice", security=Security(ca_file=ca_file), audio=AudioOptions(sinks=(ears,))
    )
    async with client:
        yield _GatewayCaller(client, ears)


@asynccontextmanager
async def websocket_caller(host: str, port: int, ca_file: str) -> AsyncIterator[Caller]:
    """Call Pipecat's WebSocket server with its protobuf frames."""
    async with connect(f"ws://{host}:{port}", compression=None, ping_interval=None, max_size=None) as connection:
        caller = _WebSocketCaller(connection)
        async with _running(caller.read(), caller.write()):
            yield caller


@asynccontextmanager
async def moq_caller(host: str, port: int, ca_file: str) -> AsyncIterator[Caller]:
    """Call Pipecat's MoQ server; QUIC alone, Opus both ways."""
    import moq

    published, subscribed = moq.OriginProducer(), moq.OriginProducer()
    producer = publish_audio(published)
    async with moq_session(f"https://{host}:{port}/moq", published, subscribed, tls_verify=False) as client:
        response = await client.announced_broadcast("pipecat/response").available()
        caller = _MoqCaller(producer)
        async with _running(caller.read(response), caller.follow(response)):
            yield caller


def publish_audio(origin: Any) -> Any:
    """Announce what Pipecat's MoQ transport takes for its caller, and return the producer of its audio (PCM16)."""
    import moq

    request = origin.create_broadcast("pipecat/request")
    producer = request.encode_audio(
        "audio",
        moq.AudioEncoderInput(format=moq.AudioSampleFormat.S16, sample_rate=INPUT_HZ, channels=1),
        moq.AudioEncoderOutput(
            codec=moq.AudioCodec.opus(), sample_rate=None, channels=None, bitrate=None, frame_duration_us=20_000
        ),
    )
    request.announce()
    return producer


def moq_session(url: str, published: Any, subscribed: Any, **tls: Any) -> Any:
    """A client of Pipecat's MoQ server, to be entered; `https:` is WebTransport, `moqt:` QUIC without HTTP/3.

    A WebSocket would race against the first.
    """
    import moq

    return moq.Client(url, publish=published, subscribe=subscribed, websocket_enabled=False, **tls)


async def decoded_audio(broadcast: Any) -> Any:
    """Subscribe to the first track with audio, as PCM16 at 24 kHz; nothing is too late."""
    import moq

    catalog = await broadcast.catalog()
    name, audio = next(iter(catalog.audio.items()))
    wanted = moq.AudioDecoderOutput(
        format=moq.AudioSampleFormat.S16, sample_rate=24_000, channels=1, max_age_us=_MOST_LATE_US
    )
    return await broadcast.decode_audio(name, audio, wanted)


@asynccontextmanager
async def _running(*coroutines: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                print(json.dumps({"failed": f"{type(result).__name__}: {result}"}), flush=True)


CALLERS: Final = {"gateway": gateway_caller, "websocket": websocket_caller, "moq": moq_caller}

"""Calls the gateway of this project with its Python SDK, over QUIC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from voice_client import (
    AudioOptions,
    ConnectionOptions,
    Flushed,
    PathChanged,
    Resumed,
    Security,
    Speech,
    SpeechEnded,
    UplinkOptions,
    VoiceClient,
)
from voice_client.errors import ClientError
from voice_eval.call.record import Mark, ToolCall, TranscriptLine
from voice_eval.drivers.base import Dialling, Driver, Endpoint, Line
from voice_eval.errors import CallFailed, EvalError
from voice_eval.network.link import UdpLink
from voice_eval.scenario.model import OfferedTool

_UPLINKS = ("hybrid", "reliable", "deadline")
_FINISH_S = 30.0
_MOST_PLACEMENTS = 40


class GatewayDriver(Driver):
    """Options: `uplink` (hybrid, reliable, deadline; default hybrid), `agent` (default the server's)."""

    name = "gateway"
    link = UdpLink

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self.uplink = endpoint.options.get("uplink", "hybrid")
        if self.uplink not in _UPLINKS:
            raise EvalError(f"option uplink: got {self.uplink!r}: use one of {', '.join(_UPLINKS)}")
        unknown = set(endpoint.options) - {"uplink", "agent"}
        if unknown:
            raise EvalError(f"option {min(unknown)}: the driver gateway knows uplink and agent")

    def line(self, dialling: Dialling) -> Line:
        return GatewayLine(dialling, self.endpoint, self.uplink)


class GatewayLine(Line):
    """A call of the SDK's client, which plays by itself: its sink fills the record."""

    def __init__(self, dialling: Dialling, endpoint: Endpoint, uplink: Any) -> None:
        super().__init__(dialling)
        self._endpoint = endpoint
        self._uplink = uplink
        self._speaking: set[int] = set()
        self._client: VoiceClient | None = None
        self._following: asyncio.Task[None] | None = None
        self._speaking_on: asyncio.Task[None] | None = None
        self._microphone: asyncio.Queue[bytes | None] = asyncio.Queue()

    @property
    def is_agent_speaking(self) -> bool:
        return bool(self._speaking)

    async def open(self) -> None:
        self.record.tools = []
        for _ in range(_MOST_PLACEMENTS):
            client = self._made()
            try:
                await client.__aenter__()
            except ClientError as error:
                raise CallFailed(str(error)) from None
            if self.dialling.worker in (None, client.worker):
                self._client = client
                self._following = asyncio.create_task(self._follow(client))
                self._speaking_on = asyncio.create_task(self._speak(client))
                return
            client.close()  # the load balancer chooses by the address: from another port it may be another worker
        raise CallFailed(f"the load balancer gave {self.dialling.worker} none of {_MOST_PLACEMENTS} calls")

    def send(self, pcm: bytes) -> None:
        self._microphone.put_nowait(pcm)

    def play(self, seconds: float) -> bytes:
        return b""

    def press(self, digit: str) -> None:
        with self._faults():
            self._open.send_digit(digit)

    def type(self, text: str) -> None:
        with self._faults():
            self._open.send_text(text)

    async def finish(self) -> None:
        self._microphone.put_nowait(None)
        if self._speaking_on is not None:
            await self._speaking_on
        with self._faults():
            await self._open.finish(_FINISH_S)

    async def close(self) -> None:
        if self._client is not None:
            self.record.lines = [TranscriptLine(line.role, line.text) for line in self._client.transcript]
            self.record.state = dict(self._client.state)
            await self._client.__aexit__(None, None, None)
        for task in (self._following, self._speaking_on):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What the client raises ends the call."""
        try:
            yield
        except ClientError as error:
            self.fault = str(error)

    @property
    def _open(self) -> VoiceClient:
        assert self._client is not None  # noqa: S101 - `open` returned
        return self._client

    def _made(self) -> VoiceClient:
        host, port = self.dialling.address
        client = VoiceClient(
            f"https://{host}:{port}{urlsplit(self._endpoint.url).path}",
            security=Security(
                ca_file=self._endpoint.ca_file,
                certificate_hash=self._endpoint.certificate_hash,
                token=self._endpoint.token,
            ),
            audio=AudioOptions(sinks=(_Sink(self),)),
            connection=ConnectionOptions(),
            uplink=UplinkOptions(self._uplink),
            agent=self._endpoint.options.get("agent"),
        )
        for tool in self.dialling.scenario.tools:
            client.tool(self._answering(tool), name=tool.name)
        return client

    def _answering(self, tool: OfferedTool) -> Any:
        async def answer(**arguments: Any) -> Any:
            calls = self.record.tools = self.record.tools or []
            calls.append(ToolCall(self.clock(), f"{tool.name}-{len(calls) + 1}", tool.name, arguments))
            if tool.error is not None:
                raise RuntimeError(tool.error)
            return tool.result

        return answer

    async def _speak(self, client: VoiceClient) -> None:
        with self._faults():
            await client.speak(_Microphone(self._microphone))

    async def _follow(self, client: VoiceClient) -> None:
        async for event in client.events():
            match event:
                case Speech(utterance_id=utterance_id):
                    self._speaking.add(utterance_id)
                case SpeechEnded(utterance_id=utterance_id) | Flushed(utterance_id=utterance_id):
                    self._speaking = {each for each in self._speaking if each > utterance_id}
                case Resumed():
                    if event.has_reconnected:
                        self._speaking.clear()
                    where = f"at {event.worker}" if event.has_reconnected else "over the same connection"
                    self.record.marks.append(Mark(self.clock(), "resumed", f"after {event.gap_ms:.0f} ms {where}"))
                case PathChanged(migration=migration):
                    self.record.marks.append(Mark(self.clock(), "migrated", f"gap {migration.gap_ms:.0f} ms"))
                case _:
                    pass


class _Microphone:
    """A `Source` of frames as they are made: each follows on the last without a gap, however late it comes."""

    is_live = True

    def __init__(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._queue = queue

    async def frames(self) -> AsyncIterator[bytes]:
        while (pcm := await self._queue.get()) is not None:
            yield pcm


class _Sink:
    """Takes what the client plays."""

    def __init__(self, line: GatewayLine) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()

    def play(self, at_s: float, pcm: bytes) -> None:
        self._line.record.played_audio.add(self._line.clock() - (self._loop.time() - at_s), pcm)

    def flush(self) -> None:
        """What was recorded was played."""

    def close(self) -> None:
        """There is nothing to close."""

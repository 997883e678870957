"""Calls a Pipecat pipeline over its SmallWebRTC transport, with aiortc; the URL is that of the offer, `/api/offer`.

The link lies between the two ICE agents: each is shown the link's end in place of the other's candidates.
"""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from contextlib import suppress
from fractions import Fraction
from typing import Any, Final

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from voice_eval.call.answers import AnswersOfTrack
from voice_eval.drivers.base import Dialling, Driver, Line
from voice_eval.drivers.held_connection import HeldConnection
from voice_eval.drivers.rtvi import Rtvi
from voice_eval.errors import CallFailed
from voice_eval.network.link import UdpLink
from voicelink.audio.resample import Resampler

_HZ: Final = 48_000
_FRAME_BYTES: Final = _HZ // 50 * 2
_OPEN_TIMEOUT_S: Final = 15.0
_PING_S: Final = 1.0
_SILENT_S: Final = 6.0
"""The pipeline sends audio all the time: so long without any means that it is gone."""
_GIVE_UP_S: Final = 30.0
_NOWHERE: Final = ("127.0.0.1", 9)
_CANDIDATE: Final = re.compile(
    r"(?im)^a=candidate:(\S+) (\d+) udp (\d+) (\S+) (\d+) typ host.*$",
)


class SmallWebRTCDriver(Driver):
    """Signalling goes straight to the server; media over the link."""

    name = "smallwebrtc"
    link = UdpLink

    def line(self, dialling: Dialling) -> Line:
        return SmallWebRTCLine(dialling, self.endpoint.url)


class SmallWebRTCLine(Line):
    """One call, which offers again when its connection dies."""

    def __init__(self, dialling: Dialling, url: str) -> None:
        super().__init__(dialling)
        self._url = url
        self._rtvi = Rtvi(dialling, self._send_json)
        self._microphone = _Microphone()
        self._connection: RTCPeerConnection | None = None
        self._channel: Any = None
        self._held = HeldConnection(self)
        self._last_audio = 0.0

    async def open(self) -> None:
        await self._held.open(self._dial())

    def send(self, pcm: bytes) -> None:
        self._microphone.push(pcm)

    def type(self, text: str) -> None:
        self._rtvi.type(text)

    async def finish(self) -> None:
        await self._end()

    async def close(self) -> None:
        await self._held.close()
        await self._end()

    async def _dial(self) -> str:
        """Keep the connection alive, and make another when it is dead; return why no more."""
        loop = asyncio.get_running_loop()
        await self._connect()
        while True:
            await asyncio.sleep(_PING_S)
            state = None if self._connection is None else self._connection.connectionState
            if state == "connected" and loop.time() - self._last_audio < _SILENT_S:
                self._send_text(f"ping: {int(loop.time() * 1000)}")
                continue
            lost_at = self._last_audio
            await self._end()
            try:
                await self._connect()
            except CallFailed as error:
                if loop.time() - lost_at > _GIVE_UP_S:
                    return str(error)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._connection = connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._channel = channel = connection.createDataChannel("chat", ordered=True)
        opened = loop.create_future()
        channel.on("open", lambda: opened.set_result(None))
        channel.on("message", self._message)
        connection.on("track", self._track)
        self._microphone = _Microphone()
        connection.addTrack(self._microphone)
        await connection.setLocalDescription(await connection.createOffer())
        offer = {"sdp": _elsewhere(connection.localDescription.sdp, _NOWHERE), "type": "offer"}
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT_S):
                answer = await asyncio.to_thread(self._offer, offer)
                link = self.dialling.link
                link.upstream = _candidate(answer["sdp"])
                link.new_address()
                sdp = _elsewhere(answer["sdp"], link.address)
                await connection.setRemoteDescription(RTCSessionDescription(sdp, answer["type"]))
                await opened
        except (OSError, TimeoutError, KeyError, ValueError) as error:
            raise CallFailed(f"{self._url}: {str(error) or type(error).__name__}") from None
        self._last_audio = loop.time()
        self._rtvi.begin()
        self._held.connected()

    def _offer(self, offer: dict[str, str]) -> dict[str, str]:
        body = json.dumps(offer).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})  # noqa: S310 - http only
        try:
            with urllib.request.urlopen(request, timeout=_OPEN_TIMEOUT_S) as answer:  # noqa: S310
                document: dict[str, str] = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            error.close()
            raise ValueError(str(error)) from None
        return document

    def _track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self._listening = asyncio.create_task(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        rate = Resampler(_HZ, self.hears_at_hz)
        loop = asyncio.get_running_loop()
        answers = AnswersOfTrack(self.hears_at_hz)
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self._last_audio = loop.time()
                samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
                pcm = rate.push(np.ascontiguousarray(samples, "<i2").tobytes())
                if answers.includes(pcm):
                    self.loudspeaker.push(pcm)

    def _message(self, message: str | bytes) -> None:
        with suppress(ValueError):
            self._rtvi.received(json.loads(message))

    def _send_json(self, message: dict[str, Any]) -> None:
        self._send_text(json.dumps(message))

    def _send_text(self, text: str) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(text)

    async def _end(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()


class _Microphone(MediaStreamTrack):
    """A track of the frames that are pushed, at 48 kHz."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._rate = Resampler(16_000, _HZ)
        self._rest = b""
        self._samples = 0

    def push(self, pcm: bytes) -> None:
        self._rest += self._rate.push(pcm)
        while len(self._rest) >= _FRAME_BYTES:
            self._queue.put_nowait(self._rest[:_FRAME_BYTES])
            self._rest = self._rest[_FRAME_BYTES:]

    async def recv(self) -> AudioFrame:
        pcm = await self._queue.get()
        frame = AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.planes[0].update(pcm)
        frame.pts, frame.sample_rate, frame.time_base = self._samples, _HZ, Fraction(1, _HZ)
        self._samples += len(pcm) // 2
        return frame


def _candidate(sdp: str) -> tuple[str, int]:
    """The server's own UDP address."""
    found = [match for match in _CANDIDATE.finditer(sdp) if ":" not in match[4]]
    if not found:
        raise ValueError("the answer names no UDP candidate over IPv4")
    return found[0][4], int(found[0][5])


def _elsewhere(sdp: str, address: tuple[str, int]) -> str:
    """Leave one candidate, at this address."""
    lines = [line for line in sdp.splitlines() if not line.startswith("a=candidate:")]
    first = _CANDIDATE.search(sdp)
    if first is not None:
        line = f"a=candidate:{first[1]} {first[2]} udp {first[3]} {address[0]} {address[1]} typ host"
        moved = []
        for each in lines:
            moved.append(each)
            if each.startswith("c="):
                moved.append(line)
        lines = moved
    return "\r\n".join(lines) + "\r\n"

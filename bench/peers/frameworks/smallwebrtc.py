"""Calls to Pipecat's SmallWebRTC transport, whose offers come by HTTPS, as its documentation has FastAPI serve them.

`serve ADDRESS PORT CERTIFICATE KEY SILENCE` answers callers, and with "silence" sends them that before the echo; `call
ADDRESS PORT CA SCRIPT COUNT SECONDS` calls one after the other with aiortc, without a connection for signalling before.
There is no data channel: sound does not wait for SCTP.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
import time
from fractions import Fraction
from typing import Any, Final

import aiohttp
import uvicorn
from aiortc import MediaStreamTrack, RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from loguru import logger

from bench.peers.frameworks.sound import FRAME_S, is_sound, tone
from bench.peers.timing import CallTimes, print_calls, say, stdin_ends

_HZ: Final = 48_000
_FRAME_SAMPLES: Final = round(_HZ * FRAME_S)
_CALL_S: Final = 20.0


async def _serve(address: str, port: str, certificate: str, key: str, silence: str) -> None:
    logger.configure(handlers=[{"sink": sys.stderr, "level": "ERROR"}])  # Pipecat talks while it is imported
    from pipecat.transports.base_transport import TransportParams
    from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
    from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport

    from bench.peers.frameworks.echo import LOW_DELAY, Echoes

    echoes, app = Echoes(), FastAPI()
    params = TransportParams(**LOW_DELAY, audio_out_auto_silence=silence == "silence")
    app.add_middleware(CORSMiddleware, allow_origins=["*"])  # a page of a browser is another origin's

    @app.post("/api/offer")
    async def answer(request: Request) -> Any:
        offer = await request.json()
        connection = SmallWebRTCConnection()
        await connection.initialize(sdp=offer["sdp"], type=offer["type"])
        echoes.start(SmallWebRTCTransport(connection, params))
        return connection.get_answer()

    config = uvicorn.Config(
        app, host=address, port=int(port), log_level="warning", ssl_certfile=certificate, ssl_keyfile=key
    )
    serving = asyncio.create_task(_Server(config).serve())
    await asyncio.wait((serving, asyncio.create_task(stdin_ends())), return_when=asyncio.FIRST_COMPLETED)
    say(json.dumps(echoes.arrivals))
    os._exit(0)


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        say("ready")


class _Tone(MediaStreamTrack):
    """A tone in frames of 20 ms at their pace, from the moment that the connection asks for the first."""

    kind = "audio"

    def __init__(self, times: CallTimes) -> None:
        super().__init__()
        self._times = times
        self._pcm = tone(_HZ)
        self._began: float | None = None

    async def recv(self) -> AudioFrame:
        number = len(self._times.sent)
        if self._began is None:
            self._began = time.monotonic()
        await asyncio.sleep(self._began + number * FRAME_S - time.monotonic())
        self._times.sent.append((number, time.monotonic()))
        frame = AudioFrame(format="s16", layout="mono", samples=_FRAME_SAMPLES)
        frame.planes[0].update(self._pcm)
        frame.pts, frame.sample_rate, frame.time_base = number * _FRAME_SAMPLES, _HZ, Fraction(1, _HZ)
        return frame


async def _set_up(url: str, context: ssl.SSLContext) -> CallTimes:
    times = CallTimes()
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    arrived: asyncio.Future[MediaStreamTrack] = asyncio.get_running_loop().create_future()
    peer.on("track", arrived.set_result)

    async def note_connected() -> None:
        if peer.connectionState == "connected" and times.connected is None:
            times.connected = time.monotonic()

    peer.on("connectionstatechange", note_connected)
    peer.addTrack(_Tone(times))
    await peer.setLocalDescription(await peer.createOffer())
    offer = {"sdp": peer.localDescription.sdp, "type": peer.localDescription.type}
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session, session.post(url, json=offer) as response:
        answer = await response.json()
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        track = await arrived
        while times.back is None:
            frame = await track.recv()
            if is_sound(frame.to_ndarray().tobytes()):
                times.back = time.monotonic()
    await peer.close()
    return times


async def _call(address: str, port: str, authority: str, _script: str, count: str, _seconds: str) -> None:
    url, context, calls = f"https://{address}:{port}/api/offer", ssl.create_default_context(cafile=authority), []
    for _ in range(int(count)):
        async with asyncio.timeout(_CALL_S):
            calls.append(await _set_up(url, context))
    print_calls(calls)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run((_serve if sys.argv[1] == "serve" else _call)(*sys.argv[2:]))

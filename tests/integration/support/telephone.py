"""A worker in this process that takes telephone calls, and a media stream that a test drives message by message."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from testbed.ports import free_port
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.telephony.vendors.twilio import signature
from voice_gateway.telephony.vendors.twilio_simulator.simulated_call import TwilioCall
from voice_gateway.worker.worker import Worker
from voicelink.audio.codecs.g711 import pcmu_encode

AUTH_TOKEN = "12345"
TOKEN = "sesame"
FAST_S = 0.002
LOUD = pcmu_encode((np.sin(np.arange(8_000) / 3) * 9_000).astype("<i2").tobytes())
QUIET = b"\xff" * 8_000


@asynccontextmanager
async def serving(
    certificates: Path,
    *,
    name: str = "worker-1",
    agent: str = "echo",
    session: Mapping[str, Any] = MappingProxyType({"resume_window_s": 0.5}),
    access: Mapping[str, Any] = MappingProxyType({"token": TOKEN}),
    **telephony: Any,
) -> AsyncIterator[Worker]:
    # signatures cover the port: it has to be known before
    listen = telephony.pop("listen", None) or ("127.0.0.1", free_port())
    scheme = "https" if telephony.get("tls") else "http"
    signed = {"auth_token": AUTH_TOKEN, "public_url": f"{scheme}://{listen[0]}:{listen[1]}", "tls": False}
    settings = GatewaySettings.model_validate(
        {
            "worker": {"name": name, "listen": "127.0.0.1:0"},
            "tls": {"certificate": certificates / "leaf.pem", "key": certificates / "leaf.key"},
            "agent": {"name": agent},
            "access": access,
            "session": session,
            "telephony": {"listen": listen} | signed | telephony,
        }
    )
    worker = Worker(settings)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop(0.0)


def at(worker: Worker, path: str, scheme: str) -> str:
    assert worker.addresses.telephony
    host, port = worker.addresses.telephony
    return f"{scheme}://{host}:{port}{path}"


def call(worker: Worker, scheme: str = "http", **changes: Any) -> TwilioCall:
    return TwilioCall(at(worker, "/twiml", scheme), **{"auth_token": AUTH_TOKEN} | changes)


class Line:
    """A media stream whose messages a test sends one by one."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.sequence = 0

    async def event(self, event: str, stream: str = "MZ1", **facts: Any) -> None:
        self.sequence += 1
        head = {"event": event, "sequenceNumber": str(self.sequence), "streamSid": stream}
        await self.socket.send(json.dumps(head | facts))

    async def start(self, **parameters: str) -> None:
        form = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        facts = {"streamSid": "MZ1", "callSid": "CA1", "mediaFormat": form}
        custom = {"customParameters": parameters or {"token": TOKEN}}
        await self.event("start", start=facts | custom)

    async def say(self, speech: bytes) -> None:
        for offset in range(0, len(speech), 160):
            payload = b64encode(speech[offset : offset + 160]).decode()
            await self.event("media", media={"track": "inbound", "timestamp": str(offset // 8), "payload": payload})

    async def next(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while (message := json.loads(await self.socket.recv()))["event"] != event:
                pass
        return dict(message)


@asynccontextmanager
async def line(worker: Worker) -> AsyncIterator[Line]:
    url = at(worker, "/v1/twilio", "ws")
    headers = {"X-Twilio-Signature": signature(AUTH_TOKEN, url)}
    async with connect(url, additional_headers=headers, max_queue=None) as socket:
        yield Line(socket)


async def emptied(worker: Worker) -> None:
    assert await worker.sessions.wait_empty(30)

"""Orders as real calls over a lossy link, in virtual time: by the client's SDK, and as a telephone call's stream."""

from __future__ import annotations

import asyncio
import json
import random
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, cast

from bench.words.listener import Listener, Understanding
from bench.words.paths import link
from testbed.calls.simulated_cluster import Plan, SimulatedCluster
from testbed.simnet.links import Direction, Profile
from testbed.simulation import Simulation, simulate
from voice_client.audio.source import PcmSource
from voice_client.errors import CallLost
from voice_gateway.certificates.development import DevelopmentCertificate
from voice_gateway.session.manager import SessionManager
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.telephony.call import TelephoneCall, TelephonyCounters
from voice_gateway.telephony.vendors.twilio import TwilioVendor
from voice_gateway.web.websocket import WebSocket
from voicelink.audio.frames import FRAME_S
from voicelink.wire import VOICE_PATH, AudioFrame

_LIMIT_S: Final = 120.0
_TCP_WAITS_S: Final = 0.2
_FORMAT: Final = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}


def voice_call(
    listener: Listener, certificate: DevelopmentCertificate, pcm: bytes, uplink: str, loss: float, seed: int
) -> Understanding:
    """The production client calls a worker through the load balancer; its own link loses in both directions."""

    async def scenario(sim: Simulation) -> None:
        cluster = SimulatedCluster(sim, certificate, lambda name: listener, Plan(access=Profile(), workers=1))
        await cluster.start()
        cluster.caller.link.change(link(loss))

        async def call() -> None:
            async with cluster.client(codec="opus", has_playback=False, uplink=uplink) as client:
                await client.speak(PcmSource(pcm))
                with suppress(CallLost):  # the last word may be lost, after every frame was acked
                    await client.finish()

        try:
            await cluster.caller.run(call())
        finally:
            await cluster.stop()

    simulate(scenario, seed=seed, limit_s=_LIMIT_S)
    return listener.understanding()


def telephone_call(listener: Listener, frames: Sequence[AudioFrame], loss: float, seed: int) -> Understanding:
    """Twilio's media stream, which comes over TCP: what the link loses is sent again, and the rest waits for it."""

    async def scenario(sim: Simulation) -> None:
        store = MemoryStore(clock=sim.now)
        manager = SessionManager("worker", listener, store, new_id=lambda: "session")
        socket = _Socket()
        # the socket's part that a call uses
        line, counters = cast(WebSocket, socket), TelephonyCounters()
        call = TelephoneCall(TwilioVendor(), line, VOICE_PATH, "192.0.2.1:5000", manager.accept, counters)
        stream, began = _Stream(link(loss), random.Random(seed)), sim.now()
        for number, message in enumerate(_messages(frames)):
            await asyncio.sleep(stream.arrival(began + number * FRAME_S) - sim.now())
            call.text_received(message)
        await socket.ended.wait()
        await manager.close()

    simulate(scenario, seed=seed, limit_s=_LIMIT_S)
    return listener.understanding()


class _Stream:
    """When what is sent over TCP arrives: complete and in order."""

    def __init__(self, profile: Profile, rng: random.Random) -> None:
        self._direction = Direction(profile)
        self._rng = rng
        self._last = 0.0

    def arrival(self, sent: float) -> float:
        wait_s = _TCP_WAITS_S
        while isinstance(arrivals := self._direction.carry(sent, 0, self._rng), str):
            sent += wait_s
            wait_s *= 2
        self._last = max(self._last, arrivals[0])
        return self._last


class _Socket:
    """Twilio's ear, to which an answer without sound says nothing."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def send_text(self, text: bytes) -> None:
        """The audio is discarded."""

    def close(self, code: int, reason: str) -> None:
        self.ended.set()


def _messages(frames: Sequence[AudioFrame]) -> list[bytes]:
    facts = {"streamSid": "MZ", "callSid": "CA", "mediaFormat": _FORMAT}
    said: list[dict[str, Any]] = [{"event": "start", "start": facts}]
    for frame in frames:
        payload = b64encode(frame.payload).decode()
        said.append({"event": "media", "media": {"timestamp": str(20 * frame.sequence), "payload": payload}})
    said.append({"event": "stop"})
    numbered = ({"sequenceNumber": str(number), "streamSid": "MZ", **each} for number, each in enumerate(said, 1))
    return [json.dumps(each).encode() for each in numbered]

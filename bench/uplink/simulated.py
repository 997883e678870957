"""Calls of the production client to the production worker, on simulated hosts and virtual time, over an exact link."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
import structlog

from bench.uplink.conditions import ONE_WAY_S, Condition
from bench.uplink.outcome import Outcome
from testbed.calls.simulated_cluster import Plan, SimulatedCluster, make_certificate
from testbed.simnet.links import IP_UDP_BYTES, Direction, Profile
from testbed.simulation import Simulation, simulate
from voice_client.audio.source import FRAME_BYTES
from voice_client.errors import CallLost
from voice_gateway.agent.base import Agent, Conversation, Emit, NoSpeechUpTo, UserAudio
from voice_gateway.transport.uplink import reassembler
from voice_gateway.transport.uplink.reassembler import replacement_frame
from voicelink.audio.frames import FRAME_S
from voicelink.wire import AudioFrame

DEADLINE_S: Final = 0.2
MODES: Final[Mapping[str, Mapping[str, Any]]] = {
    "one stream": {"uplink": "reliable"},
    "hybrid": {"uplink": "hybrid"},
    f"deadline of {DEADLINE_S:g} s": {"uplink": "deadline", "uplink_limit_s": DEADLINE_S},
}
_PLAIN_HEADER_BYTES: Final = IP_UDP_BYTES + 40  # QUIC, DATAGRAM, and what a frame says of itself
_PLAIN_PAYLOAD_BYTES: Final = 52


def place_call(condition: Condition, mode: str, seed: int, seconds: float) -> Outcome:
    """One call of so many seconds in one of `MODES`."""
    measured = Call(condition, MODES[mode], round(seconds / FRAME_S))
    measured.place(seed, limit_s=seconds + 120)
    return measured.outcome()


def plain_datagrams(condition: Condition, seed: int, seconds: float) -> Outcome:
    """Each frame once, in a datagram of its own, and never again: what the link does by itself."""
    rng, link, frames = random.Random(seed), Direction(condition.profile), round(seconds / FRAME_S)
    start = 1_000.0
    link.blackouts = [(start + begin, start + begin + length) for begin, length in condition.blackouts]
    late_ms = {}
    for number in range(frames):
        sent_at = start + number * FRAME_S
        arrivals = link.carry(sent_at, _PLAIN_PAYLOAD_BYTES, rng)
        if not isinstance(arrivals, str):
            late_ms[number] = 1000 * (arrivals[0] - sent_at - ONE_WAY_S)
    return Outcome(frames, late_ms, frames * (_PLAIN_PAYLOAD_BYTES + _PLAIN_HEADER_BYTES))


class Call:
    """The caller's speech and the listening agent, which both note the time of each frame."""

    is_live = False

    def __init__(self, condition: Condition, options: Mapping[str, Any], frames: int) -> None:
        self._condition = condition
        self._options = options
        self._frames = frames
        self._spoken_at: list[float] = []
        self._received_at: dict[int, float] = {}
        self._stood_in: set[int] = set()
        self._bytes = 0

    def place(self, seed: int, *, limit_s: float) -> None:
        """Run the call, on virtual time."""
        with tempfile.TemporaryDirectory() as folder, structlog.testing.capture_logs():
            certificate = make_certificate(Path(folder))
            with mock.patch.object(reassembler, "replacement_frame", self.note_replacement):
                simulate(lambda sim: self.run(sim, certificate), seed=seed, limit_s=limit_s)

    def outcome(self) -> Outcome:
        late_ms = {
            n: 1000 * (at - self._spoken_at[n] - ONE_WAY_S)
            for n, at in self._received_at.items()
            if n not in self._stood_in
        }
        return Outcome(len(self._spoken_at), late_ms, self._bytes)

    def note_replacement(self, sequence: int, before: AudioFrame | None, after: AudioFrame | None) -> AudioFrame:
        self._stood_in.add(sequence)
        return replacement_frame(sequence, before, after)

    async def run(self, sim: Simulation, certificate: Any) -> None:
        cluster = SimulatedCluster(sim, certificate, lambda name: _Listener(self._on_frame), Plan(access=Profile()))
        await cluster.start()
        up = cluster.caller.link.up = _Counting(self._condition.profile)
        # the far side of the caller's link is the datacentre's, 0.2 ms away
        cluster.caller.link.down = Direction(self._condition.profile)

        async def call() -> None:
            async with cluster.client(codec="opus", has_playback=False, **self._options) as client:
                start = sim.loop.time()
                for begin, length in self._condition.blackouts:
                    cluster.caller.link.black_out(start + begin, start + begin + length)
                up.byte_count = 0
                await client.speak(self)
                self._bytes = up.byte_count
                with suppress(CallLost):  # on a bad link the last word may be lost, after every frame was acked
                    await client.finish()

        try:
            await cluster.caller.run(call())
        finally:
            await cluster.stop()

    def frames(self) -> AsyncIterator[bytes]:
        """Noise as loud as speech, in pieces of 20 ms (`voice_client.audio.source.Source`)."""
        return self._speech()

    async def _speech(self) -> AsyncIterator[bytes]:
        loop, noise = asyncio.get_running_loop(), np.random.default_rng(7)
        for _ in range(self._frames):
            samples = noise.normal(0, 4000, FRAME_BYTES // 2).clip(-32768, 32767).astype("<i2")
            self._spoken_at.append(loop.time())
            yield samples.tobytes()

    def _on_frame(self, sequence: int) -> None:
        self._received_at[sequence] = asyncio.get_running_loop().time()


class _Counting(Direction):
    byte_count = 0

    def carry(self, now: float, size: int, rng: random.Random) -> list[float] | str:
        self.byte_count += size + IP_UDP_BYTES
        return super().carry(now, size, rng)


class _Listener(Agent):
    """Calls `on_frame` with the sequence number of each frame, and never answers."""

    name = "listener"
    output_rate_hz = 16_000

    def __init__(self, on_frame: Callable[[int], None]) -> None:
        self._on_frame = on_frame

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        return _Listening(emit, self._on_frame)


class _Listening(Conversation):
    def __init__(self, emit: Emit, on_frame: Callable[[int], None]) -> None:
        super().__init__(emit)
        self._on_frame = on_frame
        self._latest = -1

    def hear(self, audio: UserAudio) -> None:
        self._latest = audio.sequence
        self._on_frame(audio.sequence)
        if audio.sequence % 50 == 49:
            self.emit(NoSpeechUpTo(audio.sequence))

    def finish(self) -> None:
        self.emit(NoSpeechUpTo(self._latest))
        super().finish()

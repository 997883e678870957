"""Calls to the gateway: the production client, load balancer and worker.

`serve ADDRESS PORT CERTIFICATES SPEECH RETRY` runs the cluster; `call ADDRESS PORT CA SCRIPT COUNT SECONDS` places
calls one after the other, those of the script "echo" at once until it reads "end". Scripts of "setup" are "setup-full"
and "setup-resumed", which has a TLS ticket of a call before. The client asks for no session in early data: a request of
it can be replayed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from bench.peers.timing import FRAME_S, CallTimes, print_calls, say, stdin_ends, stdin_line
from deploy.local.cluster import ROOT, Cluster, ClusterOptions
from voice_client import (
    AudioOptions,
    CallLost,
    ClientError,
    ConnectionOptions,
    CredentialStore,
    Security,
    UplinkOptions,
    VoiceClient,
)
from voice_client.audio.source import FRAME_BYTES

_QUIET = "VOICE_GATEWAY_LOG_LEVEL"
_FIRST_WAIT_S = 5.0


async def _serve(address: str, port: str, certificates: str, speech: str, retry: str) -> None:
    frames = Path(tempfile.mkdtemp(prefix="bench-frames-")) / "frames"
    frames.touch()
    os.environ.update(BENCH_FRAMES=str(frames), BENCH_SPEECH=speech, PYTHONPATH=str(ROOT), **{_QUIET: "error"})
    if retry == "retry":
        os.environ["VOICE_GATEWAY_QUIC_RETRY_AFTER_HALF_OPEN"] = "0"
    options = ClusterOptions(
        workers=1,
        agent="bench.peers.gateway_agent:Listener",
        certificates=Path(certificates),
        host=address,
        port=int(port),
    )
    async with Cluster(options) as cluster:
        await cluster.until_healthy()
        say("ready")
        await stdin_ends()
    calls: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in frames.read_text().splitlines():
        call, sequence, at = line.split()
        calls[call].append((int(sequence), float(at)))
    say(json.dumps(list(calls.values())))


class _Sink:
    """Notes when speech that is not silence is played."""

    def __init__(self, times: CallTimes) -> None:
        self._times = times
        self.first = asyncio.Event()

    def play(self, at_s: float, pcm: bytes) -> None:
        if any(pcm):
            if self._times.back is None:
                self._times.back = time.monotonic()
                self.first.set()
            self._times.received.append((len(self._times.received), time.monotonic()))

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is open."""


class _Speech:
    """Noise as loud as speech, in pieces of 20 ms (`voice_client.Source`)."""

    is_live = False

    def __init__(self, times: CallTimes, seconds: float, ended: asyncio.Event | None = None) -> None:
        self._times = times
        self._count = round(seconds / FRAME_S)
        self._ended = ended or asyncio.Event()

    async def frames(self) -> AsyncIterator[bytes]:
        noise = np.random.default_rng(7)
        for sequence in range(self._count):
            pcm = noise.normal(0, 4_000, FRAME_BYTES // 2).clip(-32_768, 32_767).astype("<i2").tobytes()
            if self._ended.is_set():
                return
            self._times.sent.append((sequence, time.monotonic()))
            yield pcm


class _Caller:
    def __init__(self, address: str, port: str, authority: str, script: str) -> None:
        self._url = f"https://{address}:{port}/v1/voice"
        self._security = Security(ca_file=authority)
        self._script = script
        self._credentials = Path(tempfile.mkdtemp(prefix="bench-credentials-")) / "credentials.json"
        self._pcm = np.random.default_rng(7).normal(0, 4_000, FRAME_BYTES // 2).astype("<i2").tobytes()

    async def set_up(self) -> CallTimes:
        """One frame as soon as there is a session, and the answer that it calls for."""
        if self._script == "setup-full":
            self._credentials.unlink(missing_ok=True)
        elif not self._credentials.exists():
            await self._set_up_once()  # the server gives a ticket
            await asyncio.sleep(0.5)
        return await self._set_up_once()

    async def _set_up_once(self) -> CallTimes:
        times = CallTimes()
        sink = _Sink(times)
        connection = ConnectionOptions(credentials=CredentialStore(self._credentials))
        audio = AudioOptions(sinks=(sink,))
        times.began = time.monotonic()
        async with VoiceClient(self._url, security=self._security, connection=connection, audio=audio) as call:
            times.connected = time.monotonic()
            times.sent.append((0, times.connected))
            call.send_pcm(self._pcm)
            await asyncio.wait_for(sink.first.wait(), _FIRST_WAIT_S)
            await asyncio.sleep(0.3)  # the ticket comes after the handshake
        return times

    async def listen(self, seconds: float) -> CallTimes:
        times = CallTimes()
        sink = _Sink(times)
        async with VoiceClient(self._url, security=self._security, audio=AudioOptions(sinks=(sink,))) as call:
            call.send_pcm(self._pcm)
            await asyncio.wait_for(sink.first.wait(), _FIRST_WAIT_S)
            say("first")
            await asyncio.sleep(seconds)
        return times

    async def talk(self, seconds: float, mode: str) -> CallTimes:
        times = CallTimes()
        audio, uplink = (
            AudioOptions(has_playback=False),
            UplinkOptions(mode="hybrid" if mode == "hybrid" else "reliable"),
        )
        async with VoiceClient(self._url, security=self._security, audio=audio, uplink=uplink) as call:
            times.connected = time.monotonic()
            say("ready")
            watching = asyncio.create_task(self._watch(call))
            try:
                await call.speak(_Speech(times, seconds))
                with suppress(CallLost):  # the last word may be lost, after every frame was acked
                    await call.finish()
            except ClientError as error:
                times.error = str(error)
            watching.cancel()
            times.reconnects = len(call.resumes) + len(call.migrations)
        return times

    async def echo(self, seconds: float, ended: asyncio.Event) -> CallTimes:
        """Talk, and note when each frame of the echo is played."""
        times = CallTimes()
        audio = AudioOptions(sinks=(_Sink(times),))
        try:
            async with VoiceClient(self._url, security=self._security, audio=audio) as call:
                times.connected = time.monotonic()
                say("ready")
                await call.speak(_Speech(times, seconds, ended))
                times.reconnects = len(call.resumes)
        except ClientError as error:
            times.error = str(error)
        return times

    async def _watch(self, call: VoiceClient) -> None:
        """The system says that the network has changed: `changed ADDRESS`."""
        while line := await stdin_line():
            with suppress(ClientError):  # the call then resumes by itself
                await call.migrate(local_address=line.split()[1], keep_old_s=0.0)


async def _set_at_line(event: asyncio.Event) -> None:
    await stdin_line()
    event.set()


async def _call(address: str, port: str, authority: str, script: str, count: str, seconds: str) -> None:
    caller, calls = _Caller(address, port, authority, script), []
    if script == "echo":
        ended = asyncio.Event()
        ending = asyncio.create_task(_set_at_line(ended))
        calls += await asyncio.gather(*(caller.echo(float(seconds), ended) for _ in range(int(count))))
        ending.cancel()
    for _ in range(int(count) - len(calls)):
        if script.startswith("setup"):
            calls.append(await caller.set_up())
        elif script == "listen":
            calls.append(await caller.listen(float(seconds)))
        else:
            calls.append(await caller.talk(float(seconds), script.partition("-")[2]))
    print_calls(calls)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run((_serve if sys.argv[1] == "serve" else _call)(*sys.argv[2:]))

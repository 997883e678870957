"""How the programs of each way are started at the two ends of a link, and what was tuned in its favour."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.peers.frameworks import environment
from bench.peers.timing import CallTimes
from testbed.link import SERVER, EmulatedLink, Namespace
from voice_gateway.certificates.development import DevelopmentCertificate, ensure_certificate

PION: Final = Path(__file__).parent / "pion"
_CACHE: Final = Path(__file__).parents[2] / ".capacity"
_END_S: Final = 90.0
_STOP_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Way:
    """One way to carry a call; `script` is what its caller is asked, where that is not the benchmark's own.

    `browser` is the one that calls in place of a program, "chromium" or "firefox"; `is_warm`: its signalling has a
    connection before the call begins. `most_calls` is how many calls it is measured with where others have more.
    """

    name: str
    kind: str
    port: int
    tuned: str
    server: tuple[str, ...] = ()
    script: str | None = None
    browser: str | None = None
    is_warm: bool = False
    most_calls: int | None = None

    @property
    def is_framework(self) -> bool:
        """Whether its programs run in the environment of the frameworks."""
        return self.kind in environment.PACKAGES


class PeerMissingError(Exception):
    """A peer cannot be built here; the message says why."""


def gateway(name: str, port: int, *, script: str | None = None, speech: str = "none", retry: bool = False) -> Way:
    tuned = "production client, load balancer and one worker with their default settings"
    return Way(name, "gateway", port, tuned, (speech, "retry" if retry else "no-retry"), script)


def websocket(name: str, port: int, pace: str = "real") -> Way:
    tuned = (
        "TCP_NODELAY, CUBIC, no compression; reconnects to the same session 1 s after the last echo, or when the "
        "system says so"
    )
    return Way(name, "websocket", port, tuned, (pace,))


def webrtc(name: str, port: int, *, has_mux: bool = True) -> Way:
    tuned = (
        "NACK for audio (off in pion by default), ICE candidates gathered at once, "
        f"{'one UDP port at the server' if has_mux else 'UDP ports as pion takes them by default'}, no STUN or TURN; "
        "ICE restart 1 s after the last echo, or when the system says so"
    )
    return Way(name, "webrtc", port, tuned, ("mux" if has_mux else "no-mux",))


def moq(name: str, port: int, calls: int, *, has_http: bool = False) -> Way:
    """Pipecat's MoQ transport, by QUIC alone or WebTransport; it has one caller a port, from `port` on."""
    tuned = (
        f"{'WebTransport' if has_http else 'QUIC without HTTP/3'}, with a server of its own: no relay, no request to a "
        "runner before; audio is published before the connection, and both ends subscribe at once; output in pieces "
        "of 20 ms (40 by default); an echo pipeline without VAD, which is ready before the call"
    )
    script = "setup-webtransport" if has_http else "setup-quic"
    return Way(name, "moq", port, tuned, (str(calls),), script, most_calls=calls)


def smallwebrtc(name: str, port: int, calls: int, browser: str | None = None) -> Way:
    """Pipecat's SmallWebRTC transport, which is aiortc, and so is its caller where there is no browser.

    A browser is sent no silence: it takes the first packet for the echo. aiortc's jitter buffer fills with silence.
    """
    tuned = (
        "offer by HTTPS, ICE candidates gathered at once, no STUN or TURN, no data channel; output in pieces of 20 ms "
        "(40 by default); an echo pipeline without VAD, which begins with the offer; aiortc's jitter buffer as it is"
    )
    if browser is None:
        return Way(name, "smallwebrtc", port, tuned, ("silence",), most_calls=calls)
    tuned += "; no silence before the echo"
    return Way(name, "smallwebrtc", port, tuned, ("no-silence",), browser=browser, most_calls=calls)


def livekit(name: str, port: int, calls: int) -> Way:
    """Rooms of a LiveKit server."""
    tuned = (
        "the newest server that `go install` builds; a participant that echoes runs beside it and is in the room with "
        "its track before the call, no agent is dispatched; signalling without TLS, which would be another round trip; "
        "one UDP port, one peer connection for both directions, no TURN; audio sources without a queue, frames of 10 ms"
    )
    return Way(name, "livekit", port, tuned, (str(calls),), most_calls=calls)


def build_pion() -> Path:
    """The program of pion's peers, built into the cache; raises `PeerMissingError`."""
    return _build(".", "pion-peers")


def build_router() -> Path:
    """The program that routes their media by a map in Redis, likewise."""
    return _build("./router", "ufrag-router")


def _build(package: str, name: str) -> Path:
    go = shutil.which("go")
    if go is None:
        raise PeerMissingError("Go 1.25 or newer is missing")
    _CACHE.mkdir(exist_ok=True)
    program = _CACHE / name
    command = [go, "build", "-o", str(program), package]
    done = subprocess.run(command, cwd=PION, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerMissingError(f"{name} cannot be built: {done.stderr[-300:].strip()}")
    return program


def available(ways: Sequence[Way]) -> tuple[list[Way], dict[str, str]]:
    """Those that can run here, and why the others cannot."""
    why: dict[str, str | None] = {kind: _missing(kind) for kind in {way.kind for way in ways}}
    missing = {way.name: reason for way in ways if (reason := why[way.kind])}
    return [way for way in ways if way.name not in missing], missing


def _missing(kind: str) -> str | None:
    if kind in environment.PACKAGES:
        return environment.missing(kind)
    if kind == "webrtc":
        try:
            build_pion()
        except PeerMissingError as error:
            return str(error)
    return None


def described(ways: Sequence[Way]) -> dict[str, dict[str, str]]:
    """Version and tuning of each, for a result."""
    pion = re.search(r"pion/webrtc/v4 (v\S+)", (PION / "go.mod").read_text())
    versions = {
        "gateway": f"this commit, aioquic {importlib.metadata.version('aioquic')}",
        "websocket": f"websockets {importlib.metadata.version('websockets')}",
        "webrtc": f"pion/webrtc {pion.group(1) if pion else 'unknown'}",
    }
    versions |= {way.kind: environment.version(way.kind) for way in ways if way.is_framework}
    return {way.name: {"version": versions[way.kind], "tuned": way.tuned} for way in ways}


class Program:
    """A server or a caller that runs at one end of the link."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, end: Namespace, command: Sequence[str]) -> Program:
        pipe = asyncio.subprocess.PIPE
        return cls(await end.start(*command, stdin=pipe, stdout=pipe, limit=1 << 26))

    async def until(self, event: str, timeout_s: float = _END_S) -> None:
        """Return once it says so; raises `RuntimeError` where it ends first."""
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout_s):
            line = await self._process.stdout.readline()
        if line.decode().strip() != event:
            raise RuntimeError(f"a program said {line.decode()[:200]!r} and not {event!r}")

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def calls(self, timeout_s: float) -> list[CallTimes]:
        """What a caller prints at its end."""
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout_s):
            while line := await self._process.stdout.readline():
                if line.startswith(b"["):
                    return [CallTimes(**call) for call in json.loads(line)]
        raise RuntimeError("a caller ended without a result")

    async def end(self) -> bytes:
        """End a server, and return the line that it prints then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        async with asyncio.timeout(_END_S):
            line = await self._process.stdout.readline()
            await self._process.wait()
        return line

    async def frames(self) -> list[dict[int, float]]:
        """Ends a server, and returns when each frame of each call came first."""
        return [first_arrivals(call) for call in json.loads(await self.end())]

    async def stop(self) -> None:
        """End it as `frames` does, so that a cluster's processes end, too; kill what does not."""
        if self._process.returncode is not None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.communicate(), _STOP_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def first_arrivals(received: Sequence[Sequence[Any]]) -> dict[int, float]:
    """The time of the first arrival of each number."""
    found: dict[int, float] = {}
    for sequence, at in received:
        found.setdefault(int(sequence), at)
    return found


@asynccontextmanager
async def certificate() -> AsyncIterator[DevelopmentCertificate]:
    """A certificate for the server's end of the link."""
    with tempfile.TemporaryDirectory() as folder:
        yield ensure_certificate(Path(folder), now=time.time(), hosts=(SERVER,))


@asynccontextmanager
async def servers(
    link: EmulatedLink, ways: Sequence[Way], files: DevelopmentCertificate
) -> AsyncIterator[list[Program]]:
    """The server of each way, ready."""
    async with AsyncExitStack() as stack:
        programs = []
        for way in ways:
            program = await Program.start(link.server, _server_command(way, files))
            stack.push_async_callback(program.stop)
            await program.until("ready")
            programs.append(program)
        yield programs


async def caller(
    link: EmulatedLink, way: Way, files: DevelopmentCertificate, script: str, *, count: int = 1, seconds: float = 0.0
) -> Program:
    """A caller of one way, started."""
    return await Program.start(link.caller, _caller_command(way, files, script, count, seconds))


def _server_command(way: Way, files: DevelopmentCertificate) -> list[str]:
    leaf, key = str(files.leaf), str(files.key)
    if way.kind == "gateway":
        return [*_python("gateway"), "serve", SERVER, str(way.port), str(files.folder), *way.server]
    if way.kind == "websocket":
        return [*_python("websocket"), "serve", SERVER, str(way.port), leaf, key, *way.server]
    if way.is_framework:
        return [*_framework(way.kind), "serve", SERVER, str(way.port), leaf, key, *way.server]
    return [str(_CACHE / "pion-peers"), "answer", f"{SERVER}:{way.port}", leaf, key, *way.server]


def _caller_command(way: Way, files: DevelopmentCertificate, script: str, count: int, seconds: float) -> list[str]:
    asked = [str(files.authority), way.script or script, str(count), str(seconds)]
    if way.kind == "webrtc":
        return [str(_CACHE / "pion-peers"), "call", f"{SERVER}:{way.port}", *asked]
    program = _framework(way.kind) if way.is_framework else _python(way.kind)
    return [*program, "call", SERVER, str(way.port), *asked]


def _python(kind: str) -> list[str]:
    return [sys.executable, "-m", f"bench.peers.{kind}"]


def _framework(kind: str) -> list[str]:
    return [str(environment.PYTHON), "-m", f"bench.peers.frameworks.{kind}"]

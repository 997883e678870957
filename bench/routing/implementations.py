"""The load balancers, each with backends of its kind, Redis, and callers who send 20 ms frames.

quiclb is in front of workers whose session store is Redis; the router of `bench/peers/pion/router` is in front of pion,
and Redis is its routing map. Both are on loopback, behind a NAT of `bench.link`.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from bench.link import NatLink
from bench.peers.ways import PION, Program, build_pion, build_router
from deploy.local.cluster import ROOT, Cluster, ClusterOptions
from quiclb.net.address import parse_address
from testbed.ports import free_port
from testbed.redis_server import RedisServer, program, redis_server
from voice_gateway.certificates.development import DevelopmentCertificate, ensure_certificate

ONE_WAY_S: Final = 0.025
_BACKENDS: Final = 2
_HOST: Final = "127.0.0.1"
_BACKEND_HOSTS: Final = ("127.0.2.1", "127.0.2.2", "127.0.2.3")
_WAIT_S: Final = 30.0


class Site(Protocol):
    """A load balancer with two backends and a third that is not there yet."""

    link: NatLink
    redis: RedisServer

    async def restart(self) -> None:
        """SIGKILL the load balancer, start it again and return once it forwards."""

    async def add_backend(self) -> None:
        """Start the third backend and return once the load balancer knows it or may be asked for it."""

    async def call(self, count: int, seconds: float) -> Program:
        """Place calls at once; each says "ready" when it is connected."""


@dataclass(frozen=True, slots=True)
class Implementation:
    """`kept` says what the load balancer remembers of a call, and where."""

    name: str
    kept: str
    version: str
    is_saving_flows: bool | None = None
    """Of the router; `None` is quiclb."""


def implementations() -> list[Implementation]:
    """Those that are compared, ours first."""
    said = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\S+)", said)
    pion, client = (
        re.search(rf"{name} (v\S+)", (PION / "go.mod").read_text()) for name in ("pion/webrtc/v4", "go-redis/v9")
    )
    versions = [each.group(1) if each else "unknown" for each in (pion, client, found)]
    version = "pion/webrtc {}, go-redis {}, redis-server {}".format(*versions)
    return [
        Implementation("quiclb", "nothing", "this commit"),
        Implementation("Redis routing map (pion)", "flows by address", version, is_saving_flows=False),
        Implementation(
            "Redis routing map with flows (pion)", "flows by address, in Redis too", version, is_saving_flows=True
        ),
    ]


@asynccontextmanager
async def running(implementation: Implementation) -> AsyncIterator[Site]:
    """The site of an implementation, ready for calls."""
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder), fsync="everysec") as redis:
        if implementation.is_saving_flows is None:
            async with _quiclb(redis) as gateway:
                yield gateway
        else:
            async with _router(redis, is_saving_flows=implementation.is_saving_flows) as routed:
                yield routed


@dataclass(slots=True)
class QuiclbSite:
    """A cluster of the gateway with its third worker stopped."""

    cluster: Cluster
    redis: RedisServer
    link: NatLink

    async def restart(self) -> None:
        await self.cluster.kill_balancer()
        await self.cluster.start_balancer()

    async def add_backend(self) -> None:
        await self.cluster.start_worker(_BACKENDS)
        await self.until_up(_BACKENDS + 1)

    async def call(self, count: int, seconds: float) -> Program:
        host, port = self.link.address
        asked = ("call", host, str(port), str(self.cluster.ca_file), "echo", str(count), str(seconds))
        return await _start(sys.executable, "-m", "bench.peers.gateway", *asked)

    async def until_up(self, count: int) -> None:
        """Return once the load balancer's probes find so many workers healthy."""
        url = f"http://{self.cluster.addresses.balancer_metrics}/metrics"
        async with asyncio.timeout(_WAIT_S):
            while True:
                with suppress(OSError):
                    lines = (await asyncio.to_thread(_get, url)).splitlines()
                    found = [line for line in lines if line.startswith("quiclb_backend_info{")]
                    if sum('health="up"' in line for line in found) == count:
                        return
                await asyncio.sleep(0.1)


@asynccontextmanager
async def _quiclb(redis: RedisServer) -> AsyncIterator[QuiclbSite]:
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames"
        environment = {
            "BENCH_FRAMES": str(frames),
            "BENCH_SPEECH": "echo",
            "PYTHONPATH": str(ROOT),
            "VOICE_GATEWAY_LOG_LEVEL": "error",
        }
        options = ClusterOptions(
            workers=_BACKENDS + 1,
            agent="bench.peers.gateway_agent:Listener",
            environment=environment,
            store=redis.url,
        )
        async with Cluster(options) as cluster:
            await cluster.until_healthy()
            await cluster.kill_worker(_BACKENDS)
            async with NatLink(parse_address(cluster.addresses.listen), ONE_WAY_S) as link:
                site = QuiclbSite(cluster, redis, link)
                await site.until_up(_BACKENDS)
                yield site


@dataclass(slots=True)
class RouterSite:
    """The router, and pion's programs as its backends; callers choose a backend by signalling, in turn.

    `program` is pion's, built before: the link's event loop is not to wait for a compiler.
    """

    redis: RedisServer
    link: NatLink
    program: str
    command: Sequence[str]
    files: DevelopmentCertificate
    stack: AsyncExitStack
    router: asyncio.subprocess.Process | None = None
    backends: list[str] = field(default_factory=list)

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def start(self) -> None:
        self.router = await asyncio.create_subprocess_exec(*self.command, stdout=asyncio.subprocess.PIPE)
        assert self.router.stdout is not None
        async with asyncio.timeout(_WAIT_S):
            if await self.router.stdout.readline() != b"ready\n":
                raise RuntimeError("the router does not start")

    async def kill(self) -> None:
        if self.router is not None:
            self.router.kill()
            await self.router.wait()
            self.router = None

    async def add_backend(self) -> None:
        address = f"{_BACKEND_HOSTS[len(self.backends)]}:{free_port()}"
        public = f"{self.link.address[0]}:{self.link.address[1]}"
        routed = ("mux", f"{_HOST}:{self.redis.port}", public)
        backend = await _start(self.program, "answer", address, str(self.files.leaf), str(self.files.key), *routed)
        self.stack.push_async_callback(backend.stop)
        await backend.until("ready")
        self.backends.append(address)

    async def call(self, count: int, seconds: float) -> Program:
        asked = ("call", ",".join(self.backends), str(self.files.authority), "echo", str(count), str(seconds))
        return await _start(self.program, *asked)


@asynccontextmanager
async def _router(redis: RedisServer, *, is_saving_flows: bool) -> AsyncIterator[RouterSite]:
    vip = (_HOST, free_port())
    redis_address = f"{_HOST}:{redis.port}"
    command = (str(build_router()), f"{vip[0]}:{vip[1]}", redis_address, "flows" if is_saving_flows else "stun")
    async with NatLink(vip, ONE_WAY_S) as link, AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = ensure_certificate(folder, now=time.time(), hosts=_BACKEND_HOSTS)
        site = RouterSite(redis, link, str(build_pion()), command, files, stack)
        stack.push_async_callback(site.kill)
        await site.start()
        for _ in range(_BACKENDS):
            await site.add_backend()
        yield site


async def _start(*command: str) -> Program:
    pipe = asyncio.subprocess.PIPE
    return Program(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 26))


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the load balancer's own
        return str(answer.read().decode())

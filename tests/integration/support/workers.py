"""Workers in this process: one that echoes, behind a relay, or several behind a real load balancer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quiclb.daemon.load_balancer import LoadBalancer
from quiclb.settings.loader import Settings
from tests.integration.support.relay import Relay, relaying
from voice_client import VoiceClient
from voice_client.call.report import CallReport
from voice_client.options import grouped
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.store.base import SessionStore
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.worker.worker import Worker

TONE = (np.sin(np.arange(32_000) / 10) * 8000).astype("<i2").tobytes()

CONFIG = {"id": 0, "server_id_length": 4, "nonce_length": 12, "key": "8f95f09245765f80256934e50c66207f"}
SHARED = {"retry_key": "11" * 32, "ticket_key": "22" * 32, "reset_key": "33" * 32}


@dataclass(frozen=True, slots=True)
class InProcessCluster:
    folder: Path
    balancer: LoadBalancer
    workers: tuple[Worker, ...]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.balancer.vip[1]}/v1/voice"

    def client(self, **more: Any) -> VoiceClient:
        settings = {"ca_file": self.folder / "ca.pem", "codec": "pcm16", "has_playback": False}
        return VoiceClient(self.url, **grouped(settings | more))

    def counted(self, name: str) -> list[int]:
        """One of the endpoint counters, of each worker."""
        return [getattr(worker.endpoint.counters, name) for worker in self.workers]


def server_id(number: int) -> str:
    return f"{number + 1:08x}"


def worker_settings(
    folder: Path, number: int, quic: Mapping[str, Any], worker: Mapping[str, Any], config: list[Any]
) -> GatewaySettings:
    return GatewaySettings.model_validate(
        {
            "worker": {
                "name": f"w-{number}",
                "server_id": server_id(number),
                "inner": "127.0.0.1:0",
                "trusted_proxies": ("127.0.0.1",),
                **worker,
            },
            "tls": {"certificate": folder / "leaf.pem", "key": folder / "leaf.key"},
            "agent": {"name": "echo"},
            "config": config,
            "quic": {**SHARED, **quic},
        }
    )


def balancer_settings(workers: tuple[Worker, ...], config: list[Any]) -> Settings:
    return Settings.model_validate(
        {
            "forwarder": {
                "listen": "127.0.0.1:0",
                "inner": "127.0.0.1:0",
                "allow_loopback_clients": True,
                "datapath": "asyncio",
            },
            "config": config,
            "backend": [
                {
                    "name": worker.settings.worker.name,
                    "address": "{}:{}".format(*worker.addresses.inner or ("", 0)),
                    "server_ids": {str(each["id"]): server_id(number) for each in config},
                }
                for number, worker in enumerate(workers)
            ],
        }
    )


@asynccontextmanager
async def cluster(
    folder: Path,
    *,
    quic: tuple[Mapping[str, Any], ...] = ({}, {}),
    worker: Mapping[str, Any] | None = None,
    config: list[Any] | None = None,
    source: Any = None,
) -> AsyncIterator[InProcessCluster]:
    """As many workers as there are items in `quic`, which adds to each one's section of that name; one memory store.

    `source` is the load balancer's, and has the workers' at `source(number)`.
    """
    ensure_certificate(folder, now=time.time())
    store = MemoryStore()
    config = [CONFIG] if config is None else config
    async with AsyncExitStack() as running:
        workers = tuple(
            Worker(
                worker_settings(folder, number, more, worker or {}, config),
                store=store,
                source=None if source is None else source.source(number),
            )
            for number, more in enumerate(quic)
        )
        for each in workers:
            await each.start()
            running.push_async_callback(each.stop, 0.0)
        balancer = LoadBalancer(balancer_settings(workers, config), source)
        await balancer.start()
        running.push_async_callback(balancer.stop)
        yield InProcessCluster(folder, balancer, workers)


@asynccontextmanager
async def working(
    folder: Path,
    name: str = "w-1",
    store: SessionStore | None = None,
    token: str | None = None,
    admin: Mapping[str, Any] | None = None,
) -> AsyncIterator[Worker]:
    ensure_certificate(folder, now=time.time())
    worker = Worker(
        GatewaySettings.model_validate(
            {
                "worker": {"name": name, "listen": "127.0.0.1:0"},
                "tls": {"certificate": folder / "leaf.pem", "key": folder / "leaf.key"},
                "agent": {"name": "echo"},
                "access": {"token": token},
                "admin": admin,
            }
        ),
        store=store,
    )
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop(0.0)


def calling(relay: Relay, folder: Path, **changes: Any) -> VoiceClient:
    url = f"https://127.0.0.1:{relay.port}/v1/voice"
    return VoiceClient(url, **grouped({"ca_file": folder / "ca.pem", "codec": "pcm16"} | changes))


async def ended(call: VoiceClient) -> None:
    await call.listen()
    await call.finish()


async def call_that_goes_on_at_another_worker(folder: Path, **options: Any) -> CallReport:
    """Speak over a relay that leads to worker w-2 from the middle of the speech on; both workers have one store."""
    store = MemoryStore()
    async with (
        working(folder, "w-1", store) as first,
        working(folder, "w-2", store) as second,
        relaying(first.addresses.direct) as relay,
        calling(relay, folder, **options) as call,
    ):
        speaking = asyncio.create_task(call.speak(TONE))
        await asyncio.sleep(0.8)
        relay.relay_to(second.addresses.direct)
        await speaking
        await ended(call)
        return call.report()

"""A worker for clients of other projects: in this process, with a certificate of its own authority."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.browser.recordings import CALLER, Part, samples_of
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.worker.worker import Worker

TOKEN = "sesame"
FIRST_DRINK = Part(CALLER, 0.0, 5.17)
"""One sentence that orders one drink, `ORDER`."""
ORDER = ("taro milk tea", "large", "oat", 75)


@dataclass(frozen=True, slots=True)
class WorkerTestbed:
    """A running worker and what a client needs to reach it."""

    worker: Worker
    folder: Path

    @property
    def port(self) -> int:
        assert self.worker.addresses.direct is not None
        return self.worker.addresses.direct[1]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/v1/voice?token={TOKEN}"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"


@asynccontextmanager
async def working(folder: Path, agent: str = "order", **sections: object) -> AsyncIterator[WorkerTestbed]:
    ensure_certificate(folder, now=time.time())
    settings = {
        "worker": {"name": "w-interop", "listen": "127.0.0.1:0"},
        "tls": {"certificate": folder / "leaf.pem", "key": folder / "leaf.key"},
        "agent": {"name": agent},
        "access": {"token": TOKEN},
        **sections,
    }
    worker = Worker(GatewaySettings.model_validate(settings))
    await worker.start()
    try:
        yield WorkerTestbed(worker, folder)
    finally:
        await worker.stop(0.2)


def recording(out: Path) -> Path:
    """The sentence behind half a second of silence and before one, as raw PCM of 16 kHz in whole frames of 20 ms."""
    pcm = bytes(16_000) + samples_of(FIRST_DRINK) + bytes(32_000)
    out.write_bytes(pcm[: len(pcm) // 640 * 640])
    return out


def first_item(state: dict[str, object]) -> tuple[object, ...]:
    """The order's first drink, as `ORDER` has it."""
    items = state["items"]
    assert isinstance(items, list)
    return tuple(items[0][key] for key in ("drink", "size", "milk", "sugar_percent"))

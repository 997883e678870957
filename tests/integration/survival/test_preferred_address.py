"""RFC 9000 section 9.6: in through the load balancer, on at the worker's own address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.ports import free_port
from testbed.waiting import until
from tests.integration.support.workers import TONE, InProcessCluster, cluster
from voice_client import MigrationFailed, VoiceClient

WORKER_HOST = "127.0.0.9"


@asynccontextmanager
async def preferring(
    folder: Path, leads_to: str | None = None, **quic: Any
) -> AsyncIterator[tuple[InProcessCluster, str]]:
    """One worker that wants its callers at an address of its own, and that address."""
    address = f"{WORKER_HOST}:{free_port(WORKER_HOST, kind=socket.SOCK_DGRAM)}"
    worker = {"listen": address, "preferred": (leads_to or address,)}
    async with cluster(folder, quic=(quic,), worker=worker) as site:
        yield site, address


def moving(site: InProcessCluster, **options: Any) -> VoiceClient:
    """A client that moves to other addresses on its one connection, and never resumes its session on another."""
    return site.client(resume_timeout_s=0, **options)


async def test_a_call_goes_on_past_the_load_balancer(tmp_path: Path) -> None:
    async with preferring(tmp_path) as (site, address), moving(site) as call:
        speaking = asyncio.create_task(call.speak(TONE))
        await until(lambda: call.remote_address == address)
        await asyncio.sleep(0.1)
        await site.balancer.stop()
        await speaking
        await call.listen()
        await call.finish()
        report = call.report()
    assert report.is_complete
    assert report.frames_acked == report.frames_sent > 0
    assert call.state["utterances"] == 1


async def test_a_call_moves_on_from_the_preferred_address(tmp_path: Path) -> None:
    async with preferring(tmp_path) as (site, address), moving(site, local_address="127.0.0.2") as call:
        await until(lambda: call.remote_address == address)
        assert call.local_address is not None
        assert call.local_address.startswith("127.0.0.2:")
        assert (await call.migrate("127.0.0.3")).new.startswith("127.0.0.3:")
        assert call.remote_address == address
        await call.speak(TONE[:8000])
        await call.finish()
    assert call.report().is_complete


async def test_where_the_load_balancer_cannot_route_only_the_preferred_address_allows_moves(tmp_path: Path) -> None:
    """RFC 9000 section 18.2: `disable_active_migration` ends where a client has acted on a preferred address."""
    async with preferring(tmp_path, routable_cids=False) as (site, address), moving(site) as call:
        await until(lambda: call.remote_address == address)
        await call.migrate("127.0.0.3")
        await call.speak(TONE[:8000])
        await call.finish()
    assert call.report().is_complete


async def test_a_preferred_address_that_does_not_answer_changes_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((WORKER_HOST, 0))
        silent.settimeout(0)
        port = silent.getsockname()[1]
        async with preferring(tmp_path, leads_to=f"{WORKER_HOST}:{port}", routable_cids=False) as (site, _):
            async with moving(site) as call:
                await call.speak(TONE[:32_000])
                assert call.remote_address == site.url.split("/")[2]
                with pytest.raises(MigrationFailed, match="allows no migration"):
                    await call.migrate()
                await call.finish()
            assert call.report().is_complete
        assert len(silent.recv(2048)) > 0

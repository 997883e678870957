"""The Redis store behind a real Sentinel, whose master dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from testbed.redis_server import ask, redis_sentinel
from voice_gateway.errors import StoreError
from voice_gateway.store.base import SessionRecord, SessionStore
from voice_gateway.store.factory import open_store

FAILOVER_TIMEOUT_S = 110.0
"""A Sentinel that a loaded machine held up for 2 s does nothing for the next 30 s."""
pytestmark = pytest.mark.timeout(2 * FAILOVER_TIMEOUT_S)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SessionStore]:
    store = open_store(url)
    try:
        yield store
    finally:
        await store.close()


async def test_a_session_outlives_the_master_that_it_was_saved_on(tmp_path: Path) -> None:
    record = SessionRecord("s-1", 1, 7, 1, (), {"n": 1})
    claimed = replace(record, epoch=2)
    with redis_sentinel(tmp_path) as (url, master):
        async with opened(url) as store:
            await store.save(record)
            master.wait_for_replica()
            master.stop()
            faults = 0
            async with asyncio.timeout(FAILOVER_TIMEOUT_S):
                while True:
                    try:
                        # a claim whose answer was lost has been made all the same, and is refused from then on
                        if await store.claim(claimed) or await store.load("s-1") == claimed:
                            break
                    except StoreError:
                        faults += 1
                    await asyncio.sleep(0.1)
            assert faults > 0
            assert await store.load("s-1") == claimed


async def test_saves_go_to_the_new_master_while_the_old_one_lives(tmp_path: Path) -> None:
    with redis_sentinel(tmp_path) as (url, master):
        async with opened(url) as store:
            await store.save(SessionRecord("s-1", 0, None, 0, (), {}))
            master.wait_for_replica()
            assert ask(int(url.rpartition("/")[0].rpartition(":")[2]), "SENTINEL", "FAILOVER", "calls") == "OK"
            revision = 0
            async with asyncio.timeout(FAILOVER_TIMEOUT_S):
                while "role:slave" not in master.ask("INFO", "replication"):  # noqa: ASYNC110 - another process's doing
                    await asyncio.sleep(0.05)
                while True:
                    revision += 1
                    try:
                        await store.save(SessionRecord("s-1", revision, None, 0, (), {}))
                        break
                    except StoreError:
                        await asyncio.sleep(0.1)
            loaded = await store.load("s-1")
            assert loaded is not None
            assert loaded.revision == revision

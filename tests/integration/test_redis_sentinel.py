"""The Redis store behind a real Sentinel, whose master dies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from gateway.errors import StoreError
from gateway.store.base import SessionRecord
from gateway.store.factory import open_store
from tests.redis_server import redis_sentinel

FAILOVER_TIMEOUT_S = 60.0


async def test_a_session_outlives_the_master_that_it_was_saved_on(tmp_path: Path) -> None:
    record = SessionRecord("s-1", 1, 7, 1, (), {"n": 1})
    claimed = replace(record, epoch=2)
    with redis_sentinel(tmp_path) as (url, master):
        store = open_store(url)
        await store.save(record)
        assert master.ask("WAIT", "1", "5000") == "1"
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
        await store.close()

"""The Redis store on a Cluster of three nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from testbed.redis_server import redis_cluster
from voice_gateway.store.base import Fenced, SessionRecord
from voice_gateway.store.factory import open_store


async def test_sessions_spread_over_a_cluster_keep_one_owner_each(tmp_path: Path) -> None:
    records = [SessionRecord(f"s-{n}", 1, n, 1, (), {"n": n}) for n in range(24)]
    with redis_cluster(tmp_path) as url:
        store, other = open_store(url), open_store(url)
        for record in records:
            await store.save(record)
        assert [await other.load(record.session_id) for record in records] == records
        claimed = [replace(record, epoch=2) for record in records]
        assert all([await other.claim(record) for record in claimed])
        with pytest.raises(Fenced):
            await store.save(records[0])
        await other.delete("s-0", 2)
        assert await store.load("s-0") is None
        await store.close()
        await other.close()

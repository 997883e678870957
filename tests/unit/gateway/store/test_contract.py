"""What every session store promises; a new one is one more line in `STORES`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import StoreError
from gateway.store.base import Fenced, Line, SessionRecord, SessionStore
from gateway.store.factory import open_store
from gateway.store.memory import MemoryStore
from tests.redis_server import Server, redis_server

RECORD = SessionRecord(
    session_id="s-1",
    revision=3,
    heard_sequence=120,
    turn=2,
    transcript=(Line(2, "user", "a latte"), Line(2, "agent", "Ünïcode, anything else?", 3, 250)),
    owner="worker-1",
    generation=3,
    token_hashes=(b"\x00\xff" * 16, b"\x01" * 32),
    state={"items": [{"name": "latte", "price": 4.5, "extras": []}], "note": None, "is_paid": False},
)


TTL_S = 100.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[SessionStore]:
    match request.param:
        case "memory":
            url = "memory://"
        case "sqlite":
            url = f"sqlite:///{tmp_path / 'sessions.db'}"
        case _:
            server = request.getfixturevalue("redis")
            server.ask("FLUSHALL")
            url = server.url
    store = open_store(url, ttl_s=TTL_S, clock=clock)
    yield store
    await store.close()


async def test_a_saved_record_is_loaded_as_it_was(store):
    await store.save(RECORD)
    assert await store.load("s-1") == RECORD


async def test_a_record_without_a_frame_or_a_word_is_loaded_as_it_was(store):
    record = SessionRecord("s-2", 0, None, 0, (), {})
    await store.save(record)
    assert await store.load("s-2") == record


async def test_an_unknown_session_is_absent(store):
    assert await store.load("nobody") is None


async def test_a_save_replaces_the_one_before(store):
    await store.save(RECORD)
    later = replace(RECORD, revision=4, heard_sequence=200)
    await store.save(later)
    assert await store.load("s-1") == later


async def test_sessions_do_not_mix(store):
    other = replace(RECORD, session_id="s-2", turn=9)
    await asyncio.gather(store.save(RECORD), store.save(other))
    assert await store.load("s-1") == RECORD
    assert await store.load("s-2") == other


async def test_a_deleted_session_is_absent(store):
    await store.save(RECORD)
    await store.delete("s-1", 1)
    assert await store.load("s-1") is None


async def test_deleting_what_is_not_there_is_no_error(store):
    await store.delete("nobody", 1)


async def test_a_claim_takes_the_session_from_the_epoch_before(store):
    await store.save(RECORD)
    claimed = replace(RECORD, epoch=2, owner="worker-2")
    assert await store.claim(claimed)
    assert await store.load("s-1") == claimed


async def test_only_one_of_many_claims_succeeds(store):
    await store.save(RECORD)
    claims = [replace(RECORD, epoch=2, owner=f"worker-{n}") for n in range(8)]
    taken = await asyncio.gather(*(store.claim(claim) for claim in claims))
    assert taken.count(True) == 1
    assert await store.load("s-1") == claims[taken.index(True)]


@pytest.mark.parametrize("epoch", [1, 3])
async def test_a_claim_of_another_epoch_fails(store, epoch):
    await store.save(RECORD)
    assert not await store.claim(replace(RECORD, epoch=epoch))
    assert await store.load("s-1") == RECORD


async def test_what_is_not_there_cannot_be_claimed(store):
    assert not await store.claim(replace(RECORD, epoch=1))
    assert not await store.claim(replace(RECORD, epoch=2))


async def test_an_owner_of_old_is_fenced_off(store):
    await store.save(RECORD)
    claimed = replace(RECORD, epoch=2, owner="worker-2")
    await store.claim(claimed)
    with pytest.raises(Fenced) as fenced:
        await store.save(replace(RECORD, revision=99))
    assert fenced.value.epoch == 2
    await store.delete("s-1", 1)
    assert await store.load("s-1") == claimed
    await store.save(replace(claimed, revision=5))


async def test_an_owner_may_write_what_its_store_forgot(store):
    later = replace(RECORD, epoch=7)
    await store.save(later)
    assert await store.load("s-1") == later


async def test_a_record_that_was_overtaken_changes_nothing(store):
    await store.save(replace(RECORD, revision=9))
    await store.save(RECORD)
    assert (await store.load("s-1")).revision == 9


async def test_a_deleted_session_does_not_come_back(store):
    await store.save(RECORD)
    await store.delete("s-1", 1)
    with pytest.raises(Fenced):
        await store.save(replace(RECORD, revision=4))
    assert not await store.claim(replace(RECORD, epoch=2))
    assert await store.load("s-1") is None


async def test_another_session_may_take_the_name_of_a_deleted_one(store):
    await store.save(RECORD)
    await store.delete("s-1", 1)
    with pytest.raises(Fenced) as fenced:
        await store.save(RECORD)
    another = replace(RECORD, epoch=fenced.value.epoch + 1, revision=0)
    await store.save(another)
    assert await store.load("s-1") == another


async def test_a_state_that_no_octets_can_hold_is_an_error(store):
    if isinstance(store, MemoryStore):
        return
    with pytest.raises(StoreError, match="cannot be saved"):
        await store.save(replace(RECORD, state={"lock": object()}))


class TestTimeToLive:
    @pytest.fixture(params=["memory", "sqlite"])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[SessionStore]:
        url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'sessions.db'}"
        store = open_store(url, ttl_s=TTL_S, clock=clock)
        yield store
        await store.close()

    async def test_a_record_is_forgotten(self, store, clock):
        await store.save(RECORD)
        clock.now += TTL_S - 1
        assert await store.load("s-1") == RECORD
        clock.now += 1
        assert await store.load("s-1") is None
        assert not await store.claim(replace(RECORD, epoch=2))
        await store.save(RECORD)
        assert await store.load("s-1") == RECORD

    async def test_redis_forgets_by_its_own_clock(self, redis: Server):
        store = open_store(redis.url, ttl_s=TTL_S)
        await store.save(replace(RECORD, session_id="ttl"))
        assert 0 < int(redis.ask("PTTL", "voice:session:ttl")) <= 1000 * TTL_S
        await store.close()


class TestSqlite:
    async def test_a_record_outlives_the_process(self, tmp_path):
        url = f"sqlite:///{tmp_path / 'sessions.db'}"
        for _ in range(2):
            store = open_store(url)
            await store.save(RECORD)
            await store.close()
        store = open_store(url)
        assert await store.load("s-1") == RECORD
        await store.close()

    async def test_two_workers_share_one_file(self, tmp_path):
        url = f"sqlite:///{tmp_path / 'sessions.db'}"
        one, two = open_store(url), open_store(url)
        await asyncio.gather(*(store.save(replace(RECORD, revision=n)) for n in range(20) for store in (one, two)))
        assert (await two.load("s-1")).revision == 19
        assert await two.claim(replace(RECORD, epoch=2))
        with pytest.raises(Fenced):
            await one.save(RECORD)
        await asyncio.gather(one.close(), two.close())

    def test_a_file_that_cannot_be_opened_is_named(self, tmp_path):
        with pytest.raises(StoreError, match="nowhere"):
            open_store(f"sqlite:///{tmp_path / 'nowhere' / 'sessions.db'}")


class TestRedis:
    async def test_a_server_that_is_away_is_a_store_error_and_comes_back(self, tmp_path):
        with redis_server(tmp_path) as server:
            store = open_store(server.url)
            await store.save(RECORD)
            server.stop()
            with pytest.raises(StoreError):
                await store.save(replace(RECORD, revision=4))
            server.start()
            assert await store.load("s-1") == RECORD
            await store.save(replace(RECORD, revision=4))
            await store.close()

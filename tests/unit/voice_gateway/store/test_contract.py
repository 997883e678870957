"""What every session store promises; a new one is one more line in `STORES`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import structlog
from msgspec.structs import replace

from testbed.ports import free_port
from testbed.redis_server import RedisServer, redis_server
from voice_gateway.errors import StoreError
from voice_gateway.store.base import Fenced, Line, SessionRecord, SessionStore
from voice_gateway.store.encoding import RecordCodec
from voice_gateway.store.factory import open_store
from voice_gateway.store.guarded import OPERATION_TIMEOUT_S, GuardedStore
from voice_gateway.store.implementations import sqlite
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.store.implementations.sqlite import PURGE_EVERY_S, SqliteStore

RECORD = SessionRecord(
    session_id="s-1",
    revision=3,
    acked_sequence=120,
    turn=2,
    transcript=(Line(2, "user", "a latte"), Line(2, "agent", "Ünïcode, anything else?", 3, 250)),
    owner="worker-1",
    utterance_id=3,
    token_hashes=(b"\x00\xff" * 16, b"\x01" * 32),
    state={"items": [{"name": "latte", "price": 4.5, "extras": []}], "note": None, "is_paid": False},
)


TTL_S = 100.0
PATIENT_S = 30
"""For a server that answers, on a machine that may let either side wait."""


def patient(url: str) -> str:
    """The address of a Redis whose driver waits for an answer for so long."""
    return f"{url}?socket_timeout={PATIENT_S}&socket_connect_timeout={PATIENT_S}"


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "sqlite sealed", "redis", "redis sealed"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[SessionStore]:
    scheme, _, is_sealed = request.param.partition(" ")
    match scheme:
        case "memory":
            url = "memory://"
        case "sqlite":
            url = f"sqlite:///{tmp_path / 'sessions.db'}"
        case _:
            server = request.getfixturevalue("redis")
            assert server.ask("FLUSHALL") == "OK"
            url = patient(server.url)
    codec = RecordCodec([bytes(16)] if is_sealed else ())
    store = open_store(url, ttl_s=TTL_S, clock=clock, codec=codec, timeout_s=PATIENT_S)
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
    assert await store.load("absent") is None


async def test_a_save_replaces_the_one_before(store):
    await store.save(RECORD)
    later = replace(RECORD, revision=4, acked_sequence=200)
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
    await store.delete("absent", 1)


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


async def test_a_state_that_no_bytes_can_hold_is_an_error(store):
    if isinstance(store.inner, MemoryStore):
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

    async def test_redis_forgets_by_its_own_clock(self, redis: RedisServer):
        store = open_store(patient(redis.url), ttl_s=TTL_S, timeout_s=PATIENT_S)
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

    @pytest.mark.parametrize("is_old", [False, True])
    async def test_the_file_and_those_beside_it_are_for_their_owner_alone(self, tmp_path, is_old):
        file = tmp_path / "sessions.db"
        if is_old:
            file.touch(mode=0o644)
        store = open_store(f"sqlite:///{file}")
        await store.save(RECORD)
        modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
        assert modes == dict.fromkeys(("sessions.db", "sessions.db-wal", "sessions.db-shm"), 0o600)
        await store.close()

    async def test_purge_deletes_records_whose_time_is_over_and_their_bytes(self, tmp_path, clock):
        store = open_store(f"sqlite:///{tmp_path / 'sessions.db'}", ttl_s=TTL_S, clock=clock)
        for n in range(1200):
            await store.save(replace(RECORD, session_id=f"old-{n}"))
        clock.now += TTL_S
        await store.save(replace(RECORD, session_id="young", transcript=()))
        assert isinstance(store.inner, SqliteStore)
        assert await store.inner.purge() == 1200
        assert await store.inner.purge() == 0
        assert await store.load("young") is not None
        assert not any("anything else?" in each.read_bytes().decode("latin-1") for each in tmp_path.iterdir())
        await store.close()

    async def test_purge_begins_by_itself_and_comes_again_every_minute(self, tmp_path, clock, monkeypatch):
        loop, timers = asyncio.get_running_loop(), []
        monkeypatch.setattr(
            loop, "call_later", lambda delay_s, call, *args: timers.append((delay_s, call, args)) or Timer()
        )
        store = SqliteStore(tmp_path / "sessions.db", ttl_s=TTL_S, clock=clock)
        await store.save(RECORD)
        clock.now += TTL_S
        ((first_s, call, args),) = timers
        call(*args)
        assert store._purging is not None
        await store._purging
        assert store._database.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
        assert (first_s, timers[1][0]) == (1.0, PURGE_EVERY_S)
        await store.close()

    def test_the_switch_to_wal_is_tried_again_while_another_worker_writes(self, tmp_path, monkeypatch):
        """SQLite calls no busy handler for it (https://sqlite.org/c3ref/busy_handler.html)."""
        file, pauses = tmp_path / "sessions.db", []
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("CREATE TABLE t (x)")
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO t VALUES (1)")

            def pause(seconds: float) -> None:
                pauses.append(seconds)
                other.execute("COMMIT")

            monkeypatch.setattr(sqlite, "_pause", pause)
            store = SqliteStore(file, ttl_s=TTL_S, clock=Clock())
        assert len(pauses) == 1
        assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        store._database.close()

    def test_a_file_that_stays_locked_is_a_store_error_after_2_s(self, tmp_path, monkeypatch):
        file, now = tmp_path / "sessions.db", [0.0]

        def pause(seconds: float) -> None:
            now[0] += 0.5

        monkeypatch.setattr(sqlite, "_pause", pause)
        monkeypatch.setattr("voice_gateway.store.implementations.sqlite.time.monotonic", lambda: now[0])
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("CREATE TABLE t (x)")
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(StoreError, match=r"sessions\.db: database is locked"):
                SqliteStore(file, ttl_s=TTL_S, clock=Clock())
        assert now[0] == 2.0


class Timer:
    def cancel(self) -> None: ...


class TestSealed:
    """With keys nothing legible leaves the process; the first key seals, all of them open."""

    OLD, NEW = bytes(16), b"\x01" * 32

    @pytest.fixture(params=["sqlite", "redis"])
    def url(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        if request.param == "sqlite":
            return f"sqlite:///{tmp_path / 'sessions.db'}"
        server = request.getfixturevalue("redis")
        server.ask("FLUSHALL")
        return str(server.url)

    async def stored(self, url: str, *keys: bytes) -> SessionRecord | None:
        store = open_store(url, codec=RecordCodec(keys))
        try:
            return await store.load("s-1")
        finally:
            await store.close()

    async def save(self, url: str, *keys: bytes, record: SessionRecord = RECORD) -> None:
        store = open_store(url, codec=RecordCodec(keys))
        await store.save(record)
        await store.close()

    async def test_no_word_of_a_sealed_record_is_legible(self, tmp_path):
        store = open_store(f"sqlite:///{tmp_path / 'sessions.db'}", codec=RecordCodec([self.NEW]))
        await store.save(RECORD)
        for each in tmp_path.iterdir():
            assert not any(word in each.read_bytes() for word in (b"latte", b"user", b"anything", b"worker-1"))
        await store.close()

    async def test_a_key_is_changed_by_adding_the_new_one_behind_the_old_and_moving_it_to_the_front(self, url):
        for sealing in ((self.OLD,), (self.OLD, self.NEW), (self.NEW, self.OLD), (self.NEW,)):
            await self.save(url, *sealing)
            assert await self.stored(url, self.OLD, self.NEW) == RECORD
            assert await self.stored(url, self.NEW, self.OLD) == RECORD
        assert await self.stored(url, self.NEW) == RECORD

    async def test_a_running_store_takes_new_keys(self, url):
        codec = RecordCodec([self.OLD])
        store = open_store(url, codec=codec)
        await store.save(RECORD)
        codec.renew([self.NEW, self.OLD])
        assert await store.load("s-1") == RECORD
        await store.save(replace(RECORD, revision=4))
        codec.renew([self.NEW])
        assert await store.load("s-1") == replace(RECORD, revision=4)
        await store.close()

    @pytest.mark.parametrize("keys", [(), (NEW,)])
    async def test_a_record_of_a_missing_key_is_absent_and_logged_without_its_content(self, url, keys):
        codec = RecordCodec([self.OLD])
        store = open_store(url, codec=codec)
        await store.save(RECORD)
        codec.renew(keys)
        with structlog.testing.capture_logs() as logs:
            assert await store.load("s-1") is None
        await store.close()
        ((event),) = logs
        assert (event["event"], event["session"], event["log_level"]) == ("session_record_not_opened", "s-1", "warning")
        assert event.keys() == {"event", "session", "log_level", "remedy"}

    @pytest.mark.parametrize("keys", [(), (NEW,)])
    async def test_a_file_whose_records_no_key_opens_is_refused_at_the_start(self, tmp_path, keys):
        url = f"sqlite:///{tmp_path / 'sessions.db'}"
        await self.save(url, self.OLD)
        with pytest.raises(StoreError, match=r"session\.store_key has no key that opens the records in .*sessions\.db"):
            open_store(url, codec=RecordCodec(keys))

    async def test_a_record_in_clear_does_not_open_with_a_key(self, url):
        await self.save(url)
        assert await self.stored(url, self.NEW) is None

    def test_a_record_opens_under_its_own_session_alone(self):
        codec = RecordCodec([self.NEW])
        sealed = codec.encode(RECORD)
        assert codec.decode("s-1", sealed) == RECORD
        assert codec.decode("s-2", sealed) is None

    @pytest.mark.parametrize("index", [0, 1, 5, 17, -1])
    def test_a_byte_that_was_changed_is_noticed(self, index):
        codec = RecordCodec([self.NEW])
        sealed = bytearray(codec.encode(RECORD))
        sealed[index] ^= 1
        assert codec.decode("s-1", bytes(sealed)) is None

    @pytest.mark.parametrize("length", range(0, 34, 3))
    def test_a_record_that_was_cut_off_is_absent(self, length):
        codec = RecordCodec([self.NEW])
        assert codec.decode("s-1", codec.encode(RECORD)[:length]) is None

    def test_each_record_has_a_nonce_of_its_own(self):
        codec = RecordCodec([self.NEW])
        assert len({codec.encode(RECORD) for _ in range(50)}) == 50


REFUSALS = [
    "READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "LOADING Redis is loading the dataset in memory",
    "NOREPLICAS Not enough good replicas to write.",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
]


@asynccontextmanager
async def scripted_redis(refusals: list[str]) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that refuses scripts while there are `refusals`, one a connection; and how many came over each."""
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, refusal = len(connections), refusals.pop(0) if refusals else None
        connections.append(0)
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2])
            if words[0] != b"EVAL":
                writer.write(b"%1\r\n+proto\r\n:3\r\n" if words[0] == b"HELLO" else b"+OK\r\n")
                continue
            connections[number] += 1
            writer.write(b":1\r\n" if refusal is None else f"-{refusal}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield patient(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"), connections
    finally:
        server.close()


AWAY = [
    "redis://127.0.0.1:{port}/0",
    "rediss://127.0.0.1:{port}/0",
    "redis+sentinel://127.0.0.1:{port}/calls",
    "redis+cluster://127.0.0.1:{port},127.0.0.1:{port}",
    "sqlite:///{folder}/sessions.db",
]


class TestAway:
    """Every exception of a driver whose server is gone reaches the caller as a `StoreError`, soon."""

    @pytest.mark.parametrize("url", AWAY)
    async def test_every_operation_is_a_store_error_while_the_store_is_away(self, url, tmp_path):
        store = open_store(url.format(port=free_port(), folder=tmp_path))
        if url.startswith("sqlite"):
            assert isinstance(store.inner, SqliteStore)
            store.inner._database.close()
        for operation in (
            store.save(RECORD),
            store.claim(replace(RECORD, epoch=2)),
            store.load("s-1"),
            store.delete("s-1", 1),
        ):
            async with asyncio.timeout(OPERATION_TIMEOUT_S + PATIENT_S):
                with pytest.raises(StoreError):
                    await operation
        await store.close()

    @pytest.mark.parametrize("url", [url for url in AWAY if not url.startswith("sqlite")])
    async def test_a_server_that_accepts_and_says_nothing_is_a_store_error_in_time(self, url):
        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with asyncio.timeout(10):
            silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
            port = silent.sockets[0].getsockname()[1]
            store = open_store(url.format(port=port), timeout_s=0.1)
            with pytest.raises(StoreError, match=r"did not answer within 0\.1 s"):
                await store.load("s-1")
            await store.inner.close()  # it has no bound of its own, and nothing to wait for
            silent.close()

    @pytest.mark.parametrize("error", [RuntimeError("confused"), OSError("refused"), KeyError("x"), TimeoutError()])
    async def test_every_exception_of_a_driver_is_a_store_error(self, error):
        class Broken(MemoryStore):
            async def load(self, session_id):
                raise error

        with pytest.raises(StoreError) as raised:
            await GuardedStore(Broken()).load("s-1")
        assert raised.value.__cause__ is error

    async def test_a_fenced_writer_is_told_so(self):
        store = GuardedStore(MemoryStore())
        await store.save(replace(RECORD, epoch=2))
        with pytest.raises(Fenced):
            await store.save(RECORD)


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

    @pytest.mark.parametrize("refusal", REFUSALS)
    async def test_a_server_that_takes_no_writes_is_asked_again_over_a_new_connection(self, refusal):
        """As the old master does, whose connections stay open while a new one is already in its place."""
        async with scripted_redis([refusal]) as (url, connections):
            store = open_store(url, timeout_s=PATIENT_S)
            await store.save(RECORD)
            assert connections == [1, 1], "one command each, over two connections"
            await store.close()

    async def test_a_server_that_goes_on_refusing_is_a_store_error_in_time(self):
        async with scripted_redis([REFUSALS[0]] * 100) as (url, connections):
            store = open_store(url, timeout_s=PATIENT_S)
            with pytest.raises(StoreError, match="read only"):
                await store.save(RECORD)
            assert connections == [1] * 5, "asked again four times, after a second in all"
            await store.close()

    async def test_what_the_server_says_is_wrong_is_not_asked_again(self):
        async with scripted_redis(["WRONGTYPE Operation against a key holding the wrong kind of value"] * 100) as (
            url,
            connections,
        ):
            store = open_store(url, timeout_s=PATIENT_S)
            with pytest.raises(StoreError, match="WRONGTYPE"):
                await store.save(RECORD)
            assert connections == [1]
            await store.close()

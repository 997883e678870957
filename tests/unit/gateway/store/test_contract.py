"""What every session store promises; a new one is one more line in `STORES`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from gateway.store.base import Line, SessionRecord, SessionStore
from gateway.store.factory import open_store

STORES: dict[str, Callable[[], SessionStore]] = {
    "memory": lambda: open_store("memory://"),
}

RECORD = SessionRecord(
    session_id="s-1",
    revision=3,
    heard_sequence=120,
    turn=2,
    transcript=(Line(2, "user", "a latte"), Line(2, "agent", "Ünïcode, anything else?", 3, 250)),
    state={"items": [{"name": "latte", "price": 4.5, "extras": []}], "note": None, "is_paid": False},
)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SessionStore]:
    store = STORES[request.param]()
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

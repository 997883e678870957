from __future__ import annotations

import pytest

from gateway.errors import StoreError
from gateway.store.factory import open_store
from gateway.store.memory import MemoryStore


def test_the_memory_store():
    assert isinstance(open_store("memory://"), MemoryStore)


@pytest.mark.parametrize("url", ["", "memory", "memory:", "postgres://db/sessions", "/var/lib/sessions"])
def test_other_addresses_are_refused_with_those_there_are(url):
    with pytest.raises(StoreError, match="begin with memory://") as refusal:
        open_store(url)
    assert str(refusal.value).endswith(f"got {url}")


def test_a_password_is_not_repeated():
    with pytest.raises(StoreError) as refusal:
        open_store("mysql://root:hunter2@db/sessions")
    assert "hunter2" not in str(refusal.value)


def test_the_memory_store_takes_no_path():
    with pytest.raises(StoreError, match="nothing behind it"):
        open_store("memory://here")


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("sqlite://sessions.db", "sqlite:///relative.db"),
        ("sqlite:///", "sqlite:///relative.db"),
        ("redis+sentinel://localhost", "name of the master"),
        ("redis+cluster://localhost:many", "HOST:PORT"),
        ("redis://localhost:many", "address is wrong"),
    ],
)
def test_addresses_that_say_too_little_are_refused(url, rule):
    with pytest.raises(StoreError, match=rule):
        open_store(url)


@pytest.mark.parametrize(
    "url",
    ["redis://:secret@db:6379/1", "rediss://db", "redis+sentinel://one,two:26380/voice", "redis+cluster://u:p@a,b"],
)
async def test_servers_are_not_asked_before_they_are_needed(url):
    await open_store(url).close()

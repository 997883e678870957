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

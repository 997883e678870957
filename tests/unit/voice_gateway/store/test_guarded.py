"""What the boundary of a store logs."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from voice_gateway.errors import StoreError
from voice_gateway.store.base import Fenced, SessionRecord
from voice_gateway.store.guarded import GuardedStore
from voice_gateway.store.implementations.memory import MemoryStore


class FailingStore(MemoryStore):
    """Each operation fails with `failure`, where there is one."""

    failure: Exception | None = None

    async def load(self, session_id: str) -> SessionRecord | None:
        if self.failure is not None:
            raise self.failure
        return await super().load(session_id)


async def test_a_store_that_goes_away_and_comes_back_is_logged_once_each() -> None:
    inner = FailingStore()
    store = GuardedStore(inner)
    with capture_logs() as logs:
        await store.load("s-1")
        inner.failure = OSError("redis://user:password@host refused")
        for _ in range(3):
            with pytest.raises(StoreError):
                await store.load("s-1")
        inner.failure = None
        await store.load("s-1")
        await store.load("s-1")
    assert logs == [
        {"event": "session_store_away", "log_level": "debug", "reason": "OSError"},
        {"event": "session_store_back", "log_level": "debug"},
    ]


@pytest.mark.parametrize("failure", [Fenced(3, 2), StoreError("the session's state cannot be saved")])
async def test_what_concerns_one_session_is_no_change_of_the_store(failure: StoreError) -> None:
    inner = FailingStore()
    inner.failure = failure
    with capture_logs() as logs, pytest.raises(type(failure)):
        await GuardedStore(inner).load("s-1")
    assert logs == []

"""A session's record in its store: what becomes of each save, and when it is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeTransport, run_ready
from tests.unit.voice_gateway.session.sessions import new_session, start
from voice_gateway.errors import StoreError
from voice_gateway.session.core.record.resume_tokens import ResumeTokens
from voice_gateway.session.runtime.connection.attachment import Attachment
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.saving.stored_record import SaveOutcome, StoredRecord
from voice_gateway.session.stats.counters import SessionCounters
from voice_gateway.store.base import SessionRecord
from voice_gateway.store.implementations.memory import MemoryStore


class SlowStore(MemoryStore):
    """Saves once `go_on` is set, or raises `failure`."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.failure: Exception | None = None

    async def save(self, record: SessionRecord) -> None:
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        await super().save(record)


class Recorder:
    """A recording that is written to the disk once `written` is set."""

    def __init__(self) -> None:
        self.written = asyncio.Event()

    async def flushed(self) -> None:
        await self.written.wait()


class Saving:
    def __init__(self, recorder: Any = None) -> None:
        self.session = new_session()
        start(self.session, 0.0)
        self.store = SlowStore()
        self.counters = SessionCounters()
        self.outcomes: list[tuple[int, SaveOutcome]] = []
        self.tasks: set[asyncio.Task[None]] = set()
        attachment = Attachment("s-1", ClientConnection(REQUEST, FakeTransport()))
        self.stored = StoredRecord(self.session, self.store, attachment, self.counters, recorder, self.spawn)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        return task

    def save(self) -> SessionRecord:
        self.session.tracker.changed()
        record = self.session.tracker.record()
        self.stored.save(record, lambda saved, outcome: self.outcomes.append((saved.revision, outcome)))
        return record


async def test_a_save_that_the_store_takes_is_saved() -> None:
    saving = Saving()
    record = saving.save()
    await run_ready()
    assert saving.outcomes == [(record.revision, SaveOutcome.SAVED)]
    assert await saving.store.load("s-1") == record
    assert (saving.counters.saves, saving.counters.is_store_away) == (1, False)


async def test_a_store_that_is_away_fails_a_save_until_it_is_back() -> None:
    saving = Saving()
    saving.store.failure = StoreError("away")
    with capture_logs() as lines:
        first = saving.save()
        await run_ready()
    assert saving.counters.is_store_away
    saving.store.failure = None
    second = saving.save()
    await run_ready()
    assert saving.outcomes == [(first.revision, SaveOutcome.FAILED), (second.revision, SaveOutcome.SAVED)]
    assert (saving.counters.saves, saving.counters.save_failures, saving.counters.is_store_away) == (1, 1, False)
    assert [(line["event"], line["revision"], line["error"]) for line in lines] == [
        ("session_save_failed", first.revision, "away")
    ]


async def test_another_worker_s_claim_fences_a_save_off() -> None:
    saving = Saving()
    first = saving.save()
    await run_ready()
    assert await saving.store.claim(replace(first, epoch=first.epoch + 1, owner="worker-2"))
    second = saving.save()
    await run_ready()
    assert saving.outcomes[1:] == [(second.revision, SaveOutcome.FENCED)]
    assert saving.counters.save_failures == 0


async def test_its_own_claim_whose_answer_was_lost_is_taken_back_and_the_save_may_be_tried_again() -> None:
    saving = Saving()
    first = saving.save()
    await run_ready()
    ownership = saving.session.tracker.ownership
    assert await saving.store.claim(ownership.claim(first, ResumeTokens().renewed("second")))
    second = saving.save()
    await run_ready()
    assert saving.outcomes[1:] == [(second.revision, SaveOutcome.FAILED)]
    assert ownership.epoch == first.epoch + 1
    third = saving.save()
    await run_ready()
    assert saving.outcomes[2:] == [(third.revision, SaveOutcome.SAVED)]


async def test_a_session_that_ended_meanwhile_is_not_fenced_off() -> None:
    saving = Saving()
    first = saving.save()
    await run_ready()
    assert await saving.store.claim(replace(first, epoch=first.epoch + 1, owner="worker-2"))
    saving.store.go_on.clear()
    saving.save()
    saving.session.left("over")
    saving.store.go_on.set()
    await run_ready()
    assert len(saving.outcomes) == 1


async def test_a_record_is_saved_once_the_recording_is_on_the_disk() -> None:
    recorder = Recorder()
    saving = Saving(recorder)
    saving.save()
    await run_ready()
    assert await saving.store.load("s-1") is None
    recorder.written.set()
    await run_ready()
    assert await saving.store.load("s-1") is not None


async def test_a_record_is_deleted_after_the_save_that_is_under_way() -> None:
    saving = Saving()
    saving.store.go_on.clear()
    saving.save()
    saving.stored.delete()
    await run_ready()
    assert await saving.store.load("s-1") is None
    saving.store.go_on.set()
    await run_ready()
    assert [outcome for _, outcome in saving.outcomes] == [SaveOutcome.SAVED]
    assert await saving.store.load("s-1") is None


async def test_nothing_is_deleted_where_nothing_was_saved() -> None:
    saving = Saving()
    saving.stored.delete()
    assert not saving.tasks


async def test_a_delete_that_fails_is_logged() -> None:
    saving = Saving()
    saving.save()
    await run_ready()

    async def fails(session_id: str, epoch: int) -> None:
        raise StoreError("away")

    saving.store.delete = fails  # type: ignore[method-assign]
    with capture_logs() as lines:
        saving.stored.delete()
        await run_ready()
    assert [(line["event"], line["error"]) for line in lines] == [("session_delete_failed", "away")]

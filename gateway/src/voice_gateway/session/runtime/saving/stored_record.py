"""One live session's record in the store: saved, claimed back where the answer to a claim was lost, and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from typing import Any

from voice_gateway.recording.segments.recorder import CallRecorder
from voice_gateway.session.core.lifecycle.state import SessionState
from voice_gateway.session.core.session import Session
from voice_gateway.session.runtime.connection.attachment import Attachment
from voice_gateway.session.runtime.saving.ownership import reclaim
from voice_gateway.session.stats.counters import SessionCounters
from voice_gateway.store.base import Fenced, SessionRecord, SessionStore

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Runs a coroutine as a task that the worker waits for when it stops."""


class SaveOutcome(Enum):
    """What became of a save."""

    SAVED = auto()
    FAILED = auto()
    """It may be tried again: the store is away, or the session has a newer epoch than the record."""
    FENCED = auto()
    """Another worker has the session."""


class StoredRecord:
    """Writes the record of `session` to the `store`, under the epoch that this worker has claimed."""

    def __init__(
        self,
        session: Session,
        store: SessionStore,
        attachment: Attachment,
        counters: SessionCounters,
        recorder: CallRecorder | None,
        spawn: Spawn,
    ) -> None:
        self._session = session
        self._store = store
        self._attachment = attachment
        self._counters = counters
        self._recorder = recorder
        self._spawn = spawn
        self._saving: asyncio.Task[None] | None = None

    def save(self, record: SessionRecord, on_done: Callable[[SessionRecord, SaveOutcome], None]) -> None:
        """Save the record, and call `on_done` once; not where the session has ended meanwhile, and is fenced off."""
        self._saving = self._spawn(self._save(record, on_done))

    async def _save(self, record: SessionRecord, on_done: Callable[[SessionRecord, SaveOutcome], None]) -> None:
        if self._recorder is not None:
            # another worker goes on behind what the record holds, and the caller does not send that again
            await self._recorder.flushed()
        try:
            await self._store.save(record)
        except Fenced:
            if self._session.state is not SessionState.CLOSED:
                on_done(record, SaveOutcome.FAILED if await self._is_own(record) else SaveOutcome.FENCED)
        except Exception as error:  # a foreign store may raise anything; the session saves again
            self._counters.save_failures += 1
            self._counters.is_store_away = True
            self._attachment.log.warning("session_save_failed", revision=record.revision, error=str(error))
            on_done(record, SaveOutcome.FAILED)
        else:
            self._counters.saves += 1
            self._counters.is_store_away = False
            on_done(record, SaveOutcome.SAVED)

    async def _is_own(self, record: SessionRecord) -> bool:
        """Whether the newer claim that the store holds is our own, whose answer is late or lost."""
        tracker = self._session.tracker
        return record.epoch != tracker.ownership.epoch or await reclaim(self._store, tracker)

    def delete(self) -> None:
        """Delete what was saved, after the save that is under way."""
        if self._saving is not None:
            self._spawn(self._delete(self._saving))

    async def _delete(self, saving: asyncio.Task[None]) -> None:
        await asyncio.wait([saving])
        epoch = self._session.tracker.ownership.epoch
        try:
            await self._store.delete(self._session.identity.session_id, epoch)
        except Exception as error:  # a foreign store may raise anything; the record expires by itself
            self._attachment.log.warning("session_delete_failed", error=str(error))
        else:
            self._attachment.log.debug("session_record_deleted", epoch=epoch)

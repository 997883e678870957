"""Calls that come back by their key, without a resume token: their network says which they are."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from msgspec.structs import replace

from voice_gateway.session.core.record_tracker import RecordTracker
from voice_gateway.session.core.resume_tokens import ResumeTokens
from voice_gateway.session.runtime.claim import Verdict
from voice_gateway.session.runtime.client_connection import ClientConnection
from voice_gateway.store.base import Fenced, SessionRecord, SessionStore
from voicelink.wire import AudioFrame, ClientMessage, CloseCode, Malformed, Resume, Start

CALL_LOOKUP_TIMEOUT_S: Final = 5.0
"""How long a caller may hear nothing while the store is asked, all questions together."""
_ATTEMPTS = 3
_log = structlog.get_logger("voice_gateway.session")


def session_of(key: str) -> str:
    """Return the ID of the session of the call that is called `key`: any worker finds the record by it."""
    return hashlib.sha256(f"call {key}".encode(errors="backslashreplace")).hexdigest()[:32]


def returning(session_id: str, start: Start) -> Resume:
    """Return what a caller who says `start` means, where the session is already there."""
    return Resume(session=session_id, token="", version=start.version, accept=start.accept)


@dataclass(frozen=True, slots=True)
class NewSession:
    """There was no such session; the store holds the place of a new one."""

    record: SessionRecord


async def resume_call(
    store: SessionStore,
    session_id: str,
    token: str,
    worker: str,
    tracker: RecordTracker | None,
    subject: str | None = None,
) -> NewSession | SessionRecord | Verdict:
    """Make `worker` the owner of a call's session; `tracker` is the live session's, if there is one here.

    The answer is a new session's place, the record to go on from, or `HERE` (`HERE_UNSAVED`) for the live session;
    `UNKNOWN` is a session of another subject's. As in `claim`, `token` is the next resume token.
    """
    if tracker is not None and tracker.subject != subject:
        return Verdict.UNKNOWN
    try:
        async with asyncio.timeout(CALL_LOOKUP_TIMEOUT_S):
            return await _resume_call(store, session_id, token, worker, tracker, subject)
    except Exception as error:  # a foreign store may raise anything, and the caller must have an answer
        _log.warning("session_claim_failed", session=session_id, error=str(error) or type(error).__name__)
        return Verdict.STORE_AWAY if tracker is None else Verdict.HERE_UNSAVED


async def _resume_call(
    store: SessionStore, session_id: str, token: str, worker: str, tracker: RecordTracker | None, subject: str | None
) -> NewSession | SessionRecord | Verdict:
    hashes = ResumeTokens().renewed(token).hashes
    if tracker is not None:
        mine = tracker.claim(ResumeTokens(hashes))
        if await store.claim(mine):
            tracker.claimed(mine)
            return Verdict.HERE
        stored = await store.load(session_id)
        if stored is None or stored.epoch <= tracker.epoch:
            return Verdict.HERE_UNSAVED
    epoch = 1
    for _ in range(_ATTEMPTS):
        stored = await store.load(session_id)
        if stored is None:
            place = SessionRecord(session_id, 0, None, 0, (), {}, epoch, worker, subject=subject)
            try:
                await store.save(place)
            except Fenced as fenced:  # a session of that name has ended here before
                epoch = fenced.epoch + 1
                continue
            return NewSession(place)
        if stored.subject != subject:
            return Verdict.UNKNOWN
        record = replace(stored, epoch=stored.epoch + 1, owner=worker, token_hashes=hashes)
        if await store.claim(record):
            return record
    return Verdict.CONTESTED


class PendingCall:
    """The `TransportHandler` of a call until its session is found: it gives `Start` to `begin`, and waits."""

    def __init__(self, connection: ClientConnection, begin: Callable[[Start], object]) -> None:
        self._connection = connection
        self._begin = begin
        self._has_begun = False

    def message_received(self, message: ClientMessage) -> None:
        if isinstance(message, Start) and not self._has_begun:
            self._has_begun = True
            self._begin(message)
        else:
            self.malformed_received(_TOO_EARLY)

    def audio_received(self, frame: AudioFrame) -> None:
        self.malformed_received(_TOO_EARLY)

    def malformed_received(self, fault: Malformed) -> None:
        self._connection.refuse(fault.code, fault.reason)

    def path_changed(self, peer: str) -> None: ...

    def lost(self, reason: str) -> None: ...

    def left(self, reason: str) -> None: ...


_TOO_EARLY = Malformed("the caller goes on before the session is ready", CloseCode.WRONG_ORDER)

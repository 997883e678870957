"""Decides which worker goes on with a session: this one from memory, this one from the store's record, or another.

A worker claims a session by writing the next epoch of its record, compare-and-set. A worker that still has the session
under an older epoch is refused by the store at its next save.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

import structlog
from msgspec.structs import replace

from voice_gateway.session.core.record.record_tracker import RecordTracker
from voice_gateway.session.core.record.resume_tokens import ResumeTokens
from voice_gateway.store.base import Fenced, SessionRecord, SessionStore

CALL_LOOKUP_TIMEOUT_S: Final = 5.0
"""How long a telephone caller may wait in silence while the store is asked, all questions together."""
_ATTEMPTS: Final = 3
_log = structlog.get_logger("voice_gateway.session")


class Verdict(Enum):
    """The outcome of a claim without a record to go on from."""

    HERE = auto()
    """The session that is live at this worker is the newest there is."""
    HERE_UNSAVED = auto()
    """The same, but the store does not know the new token: the one that was used must stay good."""
    UNKNOWN = auto()
    """There is no such session, or the token does not open it, or it is another subject's."""
    STORE_AWAY = auto()
    """The store does not answer."""
    CONTESTED = auto()
    """Other workers claim the session at the same moment; the caller may ask again."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """There was no such session; the store holds the place of a new one."""

    record: SessionRecord


@dataclass(frozen=True, slots=True)
class Claim:
    """A caller that asks `worker` for a session, which opens to the `subject` that began it alone.

    `used_token` is the caller's resume token. It is `None` for a telephone call: its network says which call it is, and
    its session begins now if there is none. `new_token` is the next resume token.
    """

    session_id: str
    worker: str
    subject: str | None
    new_token: str = field(repr=False)
    used_token: str | None = field(default=None, repr=False)

    @property
    def is_call(self) -> bool:
        """Whether the call ID alone names the session."""
        return self.used_token is None

    def opens(self, subject: str | None, resume_tokens: ResumeTokens) -> bool:
        """Whether the caller may go on with a session of this subject and these tokens."""
        return self.subject == subject and (self.used_token is None or resume_tokens.accepts(self.used_token))

    def renewed(self, resume_tokens: ResumeTokens) -> ResumeTokens:
        """Return the tokens that hold after the claim."""
        if self.used_token is None:
            return ResumeTokens().renewed(self.new_token)
        return resume_tokens.renewed(self.new_token, used=self.used_token)


def call_session_id(call_id: str) -> str:
    """Return the ID of a telephone call's session, the same at every worker."""
    return hashlib.sha256(f"call {call_id}".encode(errors="backslashreplace")).hexdigest()[:32]


async def claim(
    store: SessionStore, asked: Claim, tracker: RecordTracker | None
) -> NewSession | SessionRecord | Verdict:
    """Make `asked.worker` the session's owner; `tracker` is that of the session if it is live at this worker.

    Another worker may have gone on with a session that is still live here: the store knows, and while it is away the
    token tells, for each resume renews it.
    """
    if tracker is not None and not asked.opens(tracker.subject, tracker.resume_tokens):
        if asked.is_call:
            return Verdict.UNKNOWN
        tracker = None
    try:
        async with asyncio.timeout(CALL_LOOKUP_TIMEOUT_S if asked.is_call else None):
            outcome = await _claim(store, asked, tracker)
    except Exception as error:  # a foreign store may raise anything, and the caller must have an answer
        _log.warning("session_claim_failed", session=asked.session_id, error=str(error) or type(error).__name__)
        outcome = Verdict.STORE_AWAY if tracker is None else Verdict.HERE_UNSAVED
    match outcome:
        case NewSession(record):
            _log_claimed(asked, record.epoch, "new")
        case SessionRecord():
            _log_claimed(asked, outcome.epoch, "store")
        case Verdict.HERE if tracker is not None:
            _log_claimed(asked, tracker.ownership.epoch, "live")
        case Verdict():
            verdict = outcome.name.lower()
            _log.debug("session_not_claimed", session=asked.session_id, worker=asked.worker, verdict=verdict)
    return outcome


def _log_claimed(asked: Claim, epoch: int, source: str) -> None:
    _log.debug("session_claimed", session=asked.session_id, worker=asked.worker, epoch=epoch, source=source)


async def _claim(
    store: SessionStore, asked: Claim, tracker: RecordTracker | None
) -> NewSession | SessionRecord | Verdict:
    if tracker is not None:
        mine = tracker.ownership.claim(tracker.record(), asked.renewed(tracker.resume_tokens))
        if await store.claim(mine):
            tracker.ownership.claimed(mine)
            return Verdict.HERE
        stored = await store.load(asked.session_id)
        if stored is None or stored.epoch <= tracker.ownership.epoch:
            return Verdict.HERE_UNSAVED
    epoch = 1
    for _ in range(_ATTEMPTS):
        stored = await store.load(asked.session_id)
        if stored is None:
            if not asked.is_call:
                return Verdict.UNKNOWN
            place = SessionRecord(asked.session_id, 0, None, 0, (), {}, epoch, asked.worker, subject=asked.subject)
            try:
                await store.save(place)
            except Fenced as fenced:  # a session of this ID has ended here before
                epoch = fenced.epoch + 1
                continue
            return NewSession(place)
        resume_tokens = ResumeTokens(stored.token_hashes)
        if not asked.opens(stored.subject, resume_tokens):
            return Verdict.UNKNOWN
        hashes = asked.renewed(resume_tokens).hashes
        record = replace(stored, epoch=stored.epoch + 1, owner=asked.worker, token_hashes=hashes)
        if await store.claim(record):
            return record
    return Verdict.CONTESTED


async def reclaim(store: SessionStore, tracker: RecordTracker) -> bool:
    """Whether the live session is still its owner's, whose saves the store refused; its epoch is then the store's.

    A claim may succeed without its answer: the store was killed, or took too long. While it is away the session stays
    until the store says otherwise.
    """
    try:
        stored = await store.load(tracker.session_id)
    except Exception as error:  # as above
        _log.warning("session_claim_failed", session=tracker.session_id, error=str(error))
        return True
    if stored is None or not tracker.ownership.has_claimed(stored):
        return False
    tracker.ownership.claimed(stored)
    _log.debug(
        "session_reclaimed", session=tracker.session_id, worker=tracker.ownership.owner, epoch=tracker.ownership.epoch
    )
    return True

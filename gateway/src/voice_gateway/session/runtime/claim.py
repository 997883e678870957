"""Who may go on with a session: this worker from memory, this worker from the store, or nobody."""

from __future__ import annotations

from enum import Enum, auto

import structlog
from msgspec.structs import replace

from voice_gateway.session.core.record_tracker import RecordTracker
from voice_gateway.session.core.resume_tokens import ResumeTokens
from voice_gateway.store.base import SessionRecord, SessionStore
from voicelink.wire import Resume

_ATTEMPTS = 3
_log = structlog.get_logger("voice_gateway.session")


class Verdict(Enum):
    """What came of a claim that found no record to go on from."""

    HERE = auto()
    """The session that is live at this worker is the newest there is."""
    HERE_UNSAVED = auto()
    """The same, but the store does not know the new token: the one that was used must stay good."""
    UNKNOWN = auto()
    """There is no such session, or the token does not open it, or it is another subject's."""
    STORE_AWAY = auto()
    """Nobody can tell before the store is back."""
    CONTESTED = auto()
    """Others claim it in the same moment: whoever asks again gets an answer."""


async def claim(
    store: SessionStore,
    resume: Resume,
    token: str,
    worker: str,
    tracker: RecordTracker | None,
    subject: str | None = None,
) -> SessionRecord | Verdict:
    """Make `worker` the session's owner, with `token` as its next; `tracker` is the live session's, if there is one.

    A session opens to the `subject` that began it alone, `None` where access tokens name none.
    Another worker may have gone on with a session that is still live here: the store knows, and while it is away the
    token tells, for each resume renews it.
    """
    try:
        if tracker is not None and tracker.opens_to(resume.token, subject):
            mine = tracker.claim(tracker.resume_tokens.renewed(token, used=resume.token))
            if await store.claim(mine):
                tracker.claimed(mine)
                return Verdict.HERE
            stored = await store.load(resume.session)
            if stored is None or stored.epoch <= tracker.epoch:
                return Verdict.HERE_UNSAVED
        for _ in range(_ATTEMPTS):
            stored = await store.load(resume.session)
            if stored is None:
                return Verdict.UNKNOWN
            resume_tokens = ResumeTokens(stored.token_hashes)
            if stored.subject != subject or not resume_tokens.accepts(resume.token):
                return Verdict.UNKNOWN
            hashes = resume_tokens.renewed(token, used=resume.token).hashes
            record = replace(stored, epoch=stored.epoch + 1, owner=worker, token_hashes=hashes)
            if await store.claim(record):
                return record
    except Exception as error:  # a foreign store may raise anything, and the caller must have an answer
        _log.warning("session_claim_failed", session=resume.session, error=str(error))
        is_live = tracker is not None and tracker.opens_to(resume.token, subject)
        return Verdict.HERE_UNSAVED if is_live else Verdict.STORE_AWAY
    return Verdict.CONTESTED


async def reclaim(store: SessionStore, tracker: RecordTracker) -> bool:
    """Whether the live session is still its owner's, whose saves the store refused; its epoch is then the store's.

    A claim may succeed without its answer: the store was killed, or took too long. While it is away nobody can tell,
    and the session stays until the store says otherwise.
    """
    try:
        stored = await store.load(tracker.session_id)
    except Exception as error:  # as above
        _log.warning("session_claim_failed", session=tracker.session_id, error=str(error))
        return True
    if stored is None or not tracker.has_claimed(stored):
        return False
    tracker.claimed(stored)
    return True

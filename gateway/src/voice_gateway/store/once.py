"""Things that may be used once, at one of the workers that share a store."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

import structlog
from msgspec.structs import replace

from voice_gateway.store.base import Fenced, SessionRecord, SessionStore

CLAIM_TIMEOUT_S: Final = 2.0
_log = structlog.get_logger("voice_gateway.store")


async def claim_once(store: SessionStore, worker: str, name: str) -> bool:
    """Return whether this is the first claim of `name` at any worker, by the store's compare-and-set.

    The store remembers it as long as a session's record. While it is away, or does not answer within 2 s, the answer is
    yes: the caller remembers what it used itself.
    """
    session_id = hashlib.sha256(f"once {name}".encode(errors="backslashreplace")).hexdigest()[:32]
    place = SessionRecord(session_id, 0, None, 0, (), {}, owner=worker)
    try:
        async with asyncio.timeout(CLAIM_TIMEOUT_S):
            await store.save(place)
            return await store.claim(replace(place, epoch=place.epoch + 1))
    except Fenced:
        return False
    except Exception as error:  # a foreign store may raise anything
        _log.warning("use_not_claimed", error=str(error) or type(error).__name__)
        return True

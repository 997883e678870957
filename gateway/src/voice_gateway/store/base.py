"""Where a session's saved state lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct, field

from voice_gateway.errors import StoreError

RECORD_VERSION = 1
"""Raised where a worker of the version before could not read the record; it then ends the session instead."""


class Fenced(StoreError):  # noqa: N818 - it says what happened
    """The session was claimed as `epoch`, or deleted: a worker that holds an older one must end its session."""

    def __init__(self, epoch: int, offered: int) -> None:
        super().__init__(f"epoch {epoch} was claimed, the record is of epoch {offered}")
        self.epoch = epoch


class Line(Struct, frozen=True):
    """What `role` said in `turn`.

    `utterance_id` is that of an answer which was not cut short; its first `skipped_ms` had been played before it began.
    """

    turn: int
    role: str
    text: str
    utterance_id: int | None = field(default=None, name="generation")
    skipped_ms: int = field(default=0, name="heard_ms")


class SavedMessages(Struct, frozen=True):
    """The numbered messages: the last of the client whose effect is saved, and those of the worker.

    `next_own` is the number of the worker's next one, `kept` holds the bytes of those that the client may not have.
    """

    acked: int | None = None
    next_own: int = 0
    kept: tuple[bytes, ...] = ()


class SessionRecord(Struct, frozen=True):
    """All that another worker needs to go on with a session.

    `epoch` grows by one whenever a worker claims the session; only its `owner` writes. `revision` grows with every
    change of the rest, saved or not. `acked_sequence` is the last uplink frame whose effect is in `state`, `None` where
    there is none. `token_hashes` are of the resume tokens that open the session, to the `subject` that began it alone.
    `version` is that of this layout. `private_state` is the part of the agent's state that its user is not shown.
    `messages` is `None` where neither side sent a numbered message. `recording_consent` is what the agent said of the
    caller's consent to a recording, `None` where it said nothing.
    """

    session_id: str
    revision: int
    acked_sequence: int | None = field(name="heard_sequence")
    turn: int
    transcript: tuple[Line, ...]
    state: Mapping[str, Any]
    epoch: int = 1
    owner: str = ""
    utterance_id: int = field(default=0, name="generation")
    token_hashes: tuple[bytes, ...] = ()
    version: int = RECORD_VERSION
    subject: str | None = None
    private_state: Mapping[str, Any] = field(default_factory=dict)
    messages: SavedMessages | None = None
    recording_consent: bool | None = None


class SessionStore(Protocol):
    """One record a session. Implementations are interchangeable; `tests/` holds one contract suite for all.

    What goes wrong beyond `Fenced` is a `StoreError` or an `OSError`: the caller tries again later. Records are
    forgotten a while after they were last written.
    """

    async def save(self, record: SessionRecord) -> None:
        """Keep the record in place of any earlier one; returns once it cannot be lost by this process's end.

        Raises `Fenced` where a higher epoch was claimed. A lower revision of the same epoch, overtaken on its way,
        changes nothing.
        """

    async def claim(self, record: SessionRecord) -> bool:
        """Put the record in place of that of the epoch before its own; `False` where there is no such record."""

    async def load(self, session_id: str) -> SessionRecord | None:
        """The record last saved, or `None`."""

    async def delete(self, session_id: str, epoch: int) -> None:
        """Forget the session for good, unless a higher epoch was claimed; no error where there is none."""

    async def close(self) -> None:
        """Flush and release."""

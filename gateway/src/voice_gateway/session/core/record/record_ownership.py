"""Which worker owns a session record, by claims of one epoch after the other. Sans-IO."""

from __future__ import annotations

from msgspec.structs import replace

from voice_gateway.session.core.record.resume_tokens import ResumeTokens
from voice_gateway.store.base import SessionRecord


class RecordOwnership:
    """Writes are the `owner`'s while no other worker has claimed the record under a higher `epoch`."""

    def __init__(self, owner: str, epoch: int) -> None:
        self.owner = owner
        self.epoch = epoch
        self._claim: SessionRecord | None = None

    def claim(self, record: SessionRecord, resume_tokens: ResumeTokens) -> SessionRecord:
        """Return what to claim the session of `record` with; call `claimed` once that was done."""
        self._claim = replace(record, epoch=self.epoch + 1, token_hashes=resume_tokens.hashes)
        return self._claim

    def has_claimed(self, stored: SessionRecord) -> bool:
        """Whether what the store holds is this process's own claim; another of the same name has other tokens."""
        mine = self._claim
        return mine is not None and (stored.epoch, stored.token_hashes) == (mine.epoch, mine.token_hashes)

    def claimed(self, record: SessionRecord) -> None:
        """The session is this worker's under a new epoch: saves of the old one that are under way will fail."""
        self.epoch = record.epoch

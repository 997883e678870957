"""Sessions kept in this process: they survive anything but its end."""

from __future__ import annotations

from gateway.store.base import SessionRecord


class MemoryStore:
    """A `SessionStore` in a dictionary."""

    def __init__(self) -> None:
        self._records: dict[str, SessionRecord] = {}

    async def save(self, record: SessionRecord) -> None:
        """Keep the record."""
        self._records[record.session_id] = record

    async def load(self, session_id: str) -> SessionRecord | None:
        """Return the record last saved."""
        return self._records.get(session_id)

    async def delete(self, session_id: str) -> None:
        """Forget the session."""
        self._records.pop(session_id, None)

    async def close(self) -> None:
        """Forget all sessions."""
        self._records.clear()

"""Where a session's saved state lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """All that another worker would need to go on with a session.

    `revision` grows with every change of the rest, saved or not. `heard_sequence` is the last uplink frame whose effect
    is in `state`, `None` before the first. `transcript` holds (role, text) in order.
    """

    session_id: str
    revision: int
    heard_sequence: int | None
    turn: int
    transcript: tuple[tuple[str, str], ...]
    state: Mapping[str, Any]


class SessionStore(Protocol):
    """One record a session. Implementations are interchangeable; `tests/` holds one contract suite for all."""

    async def save(self, record: SessionRecord) -> None:
        """Keep the record in place of any earlier one; returns once it cannot be lost by this process's end."""

    async def load(self, session_id: str) -> SessionRecord | None:
        """The record last saved, or `None`."""

    async def delete(self, session_id: str) -> None:
        """Forget the session; no error where there is none."""

    async def close(self) -> None:
        """Flush and release."""

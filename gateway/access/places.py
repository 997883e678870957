"""How many sessions each address and each subject has. Sans-IO."""

from __future__ import annotations

from collections import Counter
from typing import Final

from gateway.access.limits import AccessLimits, Excess, Holder

RETRY_AFTER_S: Final = 10.0


class Places:
    """Whose session begins `enter`s, and `leave`s with the same holder."""

    def __init__(self) -> None:
        self._taken: Counter[tuple[str, bytes | str]] = Counter()

    def enter(self, holder: Holder) -> None:
        """A session begins."""
        self._taken.update(_keys(holder))

    def leave(self, holder: Holder) -> None:
        """A session is over."""
        for key in _keys(holder):
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]

    def full(self, holder: Holder, limits: AccessLimits, spare: int = 0) -> Excess | None:
        """Say why there is no place for one more; `spare` places are there beyond the limit."""
        most = {"address": limits.address_sessions, "subject": limits.subject_sessions}
        for kind, name in _keys(holder):
            limit = most[kind]
            if limit is not None and self._taken[kind, name] >= limit + spare:
                return Excess(f"{kind}_sessions", f"sessions of one {kind} at a time: at most {limit}", RETRY_AFTER_S)
        return None


def _keys(holder: Holder) -> list[tuple[str, bytes | str]]:
    named: tuple[tuple[str, bytes | str | None], ...] = (("address", holder.network), ("subject", holder.subject))
    return [(kind, name) for kind, name in named if name is not None]

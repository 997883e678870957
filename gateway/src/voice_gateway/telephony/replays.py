"""Which signed webhooks were answered before, and which streams were opened. Sans-IO.

A signature covers a webhook's URL and parameters and holds no time: a captured request could be sent again at any time.
So each is answered once. Twilio itself repeats a request within 15 s when it got no answer (connection overrides `rc`,
`rp`, `tt`), with the same `I-Twilio-Idempotency-Token`: that gets the same answer again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

RETRY_WINDOW_S: Final = 20.0
"""How long a request may be repeated: 15 s at Twilio (`tt`), and some for the way."""
REMEMBERED_S: Final = 86_400.0
"""How long a use is remembered: Twilio ends a call after 24 h."""
MOST_REMEMBERED: Final = 65_536
"""Uses in memory, about 10 MB; beyond it the oldest is forgotten."""
_Answer = TypeVar("_Answer")


class Uses:
    """Remembers names for `REMEMBERED_S`, at most `most` of them; the oldest is forgotten first."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._used_at: dict[str, float] = {}

    def take(self, name: str, now: float) -> bool:
        """Return whether this is the first use of `name`, and remember it; `now` is in s."""
        used_at = self._used_at
        while used_at and used_at[oldest := next(iter(used_at))] + REMEMBERED_S <= now:
            del used_at[oldest]
        if name in used_at:
            return False
        if len(used_at) >= self._most:
            del used_at[next(iter(used_at))]
        used_at[name] = now
        return True


@dataclass(frozen=True, slots=True)
class _Recent(Generic[_Answer]):
    answered_at: float
    idempotency_token: str
    answer: _Answer


class Webhooks(Generic[_Answer]):
    """The webhooks that were answered at this worker, by their signature."""

    def __init__(self) -> None:
        self._uses = Uses()
        self._recent: dict[str, _Recent[_Answer]] = {}

    def is_new(self, name: str, now: float) -> bool:
        """Return whether the webhook has not been seen before, and remember it."""
        self._forget(now)
        return self._uses.take(name, now)

    def answered(self, name: str, idempotency_token: str, answer: _Answer, now: float) -> None:
        """Keep the answer for when Twilio asks again."""
        self._recent[name] = _Recent(now, idempotency_token, answer)

    def repeated(self, name: str, idempotency_token: str) -> _Answer | None:
        """Return the answer that the vendor's retry gets; `None` for a replay."""
        recent = self._recent.get(name)
        return recent.answer if recent is not None and recent.idempotency_token == idempotency_token else None

    def _forget(self, now: float) -> None:
        while self._recent:
            oldest = next(iter(self._recent))
            if self._recent[oldest].answered_at + RETRY_WINDOW_S > now:
                return
            del self._recent[oldest]


def use_of(signature: str) -> str:
    """Return the name of the request that carries this signature, which covers all that counts in it."""
    return hashlib.sha256(signature.encode(errors="backslashreplace")).hexdigest()[:32]

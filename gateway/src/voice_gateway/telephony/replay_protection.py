"""Replay protection of telephony: each signed webhook is answered once, and opens one stream. Sans-IO.

A signature covers a webhook's URL and parameters and holds no time: a captured request could be sent again at any time.
Twilio itself repeats a request within 15 s when it got no answer (connection overrides `rc`, `rp`, `tt`), with the same
`I-Twilio-Idempotency-Token`: that gets the same answer again. Twilio signs a stream's URL, too, which is the same for
all calls, and not the call's SID in `start`: so the answer to a webhook gives the stream a token, an HMAC over the SID,
the use (the webhook that was answered) and the time, which every worker with the account's secret makes and checks.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

RETRY_WINDOW_S: Final = 20.0
"""How long a request may be repeated: 15 s at Twilio (`tt`), and some for the way."""
REMEMBERED_S: Final = 86_400.0
"""How long a use is remembered: Twilio ends a call after 24 h."""
MOST_REMEMBERED: Final = 65_536
"""Uses in memory, about 10 MB; beyond it the oldest is forgotten."""
STREAM_TOKEN_PARAMETER: Final = "stream_token"  # noqa: S105 - the name of one
STREAM_TOKEN_LIFETIME_S: Final = 60
"""Twilio opens the stream that a call's TwiML names at once."""
_FORM: Final = re.compile(r"([0-9a-f]{32})\.(\d{1,12})\.([0-9a-f]{64})", re.ASCII)
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


class StreamTokens:
    """Makes and checks tokens with a key derived from `secret`, the auth token or shared key of the Twilio account."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"stream tokens", "sha256")

    def make(self, call_sid: str, use: str, now: float) -> str:
        """Return `use.expiry.mac` for the call's stream; `now` is seconds since 1970, `use` 32 hexadecimal digits."""
        expires = int(now) + STREAM_TOKEN_LIFETIME_S
        return f"{use}.{expires}.{self._mac(call_sid, use, expires)}"

    def check(self, token: str, call_sid: str, now: float) -> str | None:
        """Return the token's use; `None` for one that was not made for this call, or has expired."""
        found = _FORM.fullmatch(token)
        if found is None:
            return None
        use, expires, mac = found[1], int(found[2]), found[3]
        if not hmac.compare_digest(mac, self._mac(call_sid, use, expires)):
            return None
        return use if now < expires else None

    def _mac(self, call_sid: str, use: str, expires: int) -> str:
        signed = f"{use}.{expires}.{call_sid}".encode(errors="backslashreplace")
        return hmac.digest(self._key, signed, "sha256").hex()

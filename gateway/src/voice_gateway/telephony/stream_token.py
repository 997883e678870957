"""Stream tokens: what the TwiML of a call gives its stream, so that the signature alone opens none. Sans-IO.

Twilio signs a stream's URL, which is the same for all calls, and not the call's SID in `start`. The token is an HMAC
over the SID, the use (the webhook that was answered) and the time; every worker with the account's secret makes and
checks it.
"""

from __future__ import annotations

import hmac
import re
from typing import Final

STREAM_TOKEN_PARAMETER: Final = "stream_token"  # noqa: S105 - the name of one
LIFETIME_S: Final = 60
"""Twilio opens the stream that a call's TwiML names at once."""
_FORM: Final = re.compile(r"([0-9a-f]{32})\.(\d{1,12})\.([0-9a-f]{64})", re.ASCII)


class StreamTokens:
    """Makes and checks tokens with a key derived from `secret`, the auth token or shared key of the Twilio account."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"stream tokens", "sha256")

    def make(self, call_sid: str, use: str, now: float) -> str:
        """Return `use.expiry.mac` for the call's stream; `now` is seconds since 1970, `use` 32 hexadecimal digits."""
        expires = int(now) + LIFETIME_S
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

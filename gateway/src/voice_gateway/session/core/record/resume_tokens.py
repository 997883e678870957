"""Resume tokens: each opens a session for one resume. Sans-IO."""

from __future__ import annotations

import hashlib
import hmac

_MOST_UNCONFIRMED = 4


class ResumeTokens:
    """The tokens that open one session; only their hashes are kept.

    After a resume the token that was used stays good until the caller shows that it has the next one: its connection
    may be lost again before `ready` has arrived.
    """

    def __init__(self, hashes: tuple[bytes, ...] = ()) -> None:
        self.hashes = hashes

    def renewed(self, token: str, used: str | None = None) -> ResumeTokens:
        """Return those that hold once `token` was issued to the caller that came with `used`."""
        if used is None:
            return ResumeTokens((_hash(token),))
        # of two attempts with one token the caller may wait for the one that is decided first
        hashes = dict.fromkeys((_hash(token), _hash(used), *self.hashes))
        return ResumeTokens(tuple(hashes)[:_MOST_UNCONFIRMED])

    def confirm(self) -> bool:
        """The caller has the newest token: it alone is good from now on. False where that was known."""
        if len(self.hashes) < 2:
            return False
        self.hashes = self.hashes[:1]
        return True

    def accepts(self, token: str) -> bool:
        """Whether the token opens the session; takes a time that does not tell how much of it is right."""
        offered = _hash(token)
        matches = [hmac.compare_digest(offered, known) for known in self.hashes]
        return any(matches)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="backslashreplace")).digest()

"""Messages of a vendor that do not fit its protocol: counted, logged without content, and survived. For all vendors."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
import structlog

from voice_gateway.agents.bridges.bridge.vendor import Message, VendorEvent, VendorSession

MOST_SESSIONS: Final = 3
"""Sessions in a row that such a message ended, before the call fails."""
_log = structlog.get_logger("voice_gateway.agents.bridges")


class MalformedMessages:
    """Reads the messages of one call's sessions. Each malformed one ends its session; an answer ends a row of those.

    `counter` is of all calls of the bridge, by kind: `shape`, `oversized` or `framing`.
    """

    def __init__(self, vendor: str, counter: Counter[str]) -> None:
        self._vendor = vendor
        self._counter = counter
        self._sessions = 0
        self.has_broken_session = False
        """Whether the newest session ended so: it is neither read on nor resumed."""

    @property
    def failure(self) -> str | None:
        """The sentence with which the call fails, once too many sessions in a row were malformed."""
        if self._sessions < MOST_SESSIONS:
            return None
        return f"{self._vendor} sent malformed messages in {self._sessions} sessions in a row"

    def session_opened(self) -> None:
        """A new session takes the place of the last one."""
        self.has_broken_session = False

    def answered(self) -> None:
        """The vendor gave a whole answer."""
        self._sessions = 0

    def read(self, session: VendorSession, message: Message) -> list[VendorEvent] | None:
        """Return the events of a message, `None` where it is malformed."""
        if self.has_broken_session:
            return []
        try:
            return session.receive(message)
        except Exception as error:  # what a peer sends must never raise further, even what a vendor's part forgot
            # neither the message nor the error's text is repeated: they may hold the caller's words
            is_expected = isinstance(error, msgspec.DecodeError | ValueError)
            self.found("shape", len(message), None if is_expected else type(error).__name__)
            return None

    def found(self, kind: str, size: int | None = None, error: str | None = None) -> None:
        """Count a malformed message, which ends the session."""
        if self.has_broken_session:
            return
        self.has_broken_session = True
        self._sessions += 1
        self._counter[kind] += 1
        _log.warning(
            "bridge_message_malformed",
            vendor=self._vendor,
            kind=kind,
            size=size,
            error=error,
            sessions_in_a_row=self._sessions,
        )

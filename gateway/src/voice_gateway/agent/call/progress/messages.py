"""What of an application's messages must outlive a worker: those not read, and which were sent. Sans-IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec

_MOST_KEPT: Final = 64
_MOST_KEPT_BYTES: Final = 65_536
_MOST_SENT: Final = 256


class MessageJournal:
    """The application's messages that the agent has not read, the newest 64, and what was sent in pending turns.

    A message sent is known by the digest of its place in the turn and its data; those of turn 0 are kept.
    """

    def __init__(self, saved: Mapping[str, Any]) -> None:
        self._inbox: deque[tuple[int, Any]] = deque((number, data) for number, data in saved.get("inbox", ()))
        self._sent: deque[tuple[int, str]] = deque(
            ((turn, digest) for turn, digest in saved.get("sent", ())), maxlen=_MOST_SENT
        )

    @property
    def oldest(self) -> tuple[int, Any] | None:
        """The number and the data of the oldest message that was not read."""
        return self._inbox[0] if self._inbox else None

    def received(self, number: int, data: Mapping[str, Any]) -> None:
        """Keep a message until it is read; an agent that does not read loses the oldest."""
        self._inbox.append((number, dict(data)))
        while len(self._inbox) > _MOST_KEPT or len(msgspec.msgpack.encode(list(self._inbox))) > _MOST_KEPT_BYTES:
            self._inbox.popleft()

    def forget(self, number: int) -> None:
        """The message was read, and has had its effect."""
        self._inbox = deque(each for each in self._inbox if each[0] != number)

    def send(self, turn: int, digest: str) -> bool:
        """Note a message that is sent; false where it was sent before."""
        if (turn, digest) in self._sent:
            return False
        self._sent.append((turn, digest))
        return True

    def answered(self, number: int) -> None:
        """The turn is over: it is not repeated."""
        kept = (each for each in self._sent if each[0] == 0 or each[0] > number)
        self._sent = deque(kept, maxlen=_MOST_SENT)

    def to_state(self) -> dict[str, Any]:
        """Return plain lists."""
        return {"inbox": [list(each) for each in self._inbox], "sent": [list(each) for each in self._sent]}

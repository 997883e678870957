"""The numbered messages of a session: the client's, taken once, and the worker's, kept until acknowledged. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from voice_gateway.store.base import SavedMessages
from voicelink.wire import (
    MAX_UNACKED_MESSAGES,
    App,
    Malformed,
    NumberedClientMessage,
    NumberedServerMessage,
    ToolCall,
    Transfer,
    decode_server_message,
    encode_message,
)

_MOST_KEPT: Final = 256
_MOST_KEPT_BYTES: Final = 262_144
"""Of the worker's messages, beyond which the oldest of the application are left out."""
_MOST_SKIPPED: Final = 65_536
"""How far a client that was at a worker of an older version may be ahead of the record."""


@dataclass(slots=True)
class _Kept:
    """A message of the worker; it may be sent once the record of this revision is saved."""

    message: NumberedServerMessage
    encoded: bytes
    revision: int
    is_sent: bool = False


class NumberedMessages:
    """Both sides number their messages from 0. A receiver drops a number that it has had, and takes one that is ahead.

    `next_number` is the first that has not come from the client, `through` the last whose effect is in the session
    record, `None` where there is none. The worker's messages are in the record before they are sent: no two workers
    give one number to different ones.
    """

    def __init__(self, saved: SavedMessages | None = None) -> None:
        saved = saved or SavedMessages()
        self.through = self.acked = saved.acked
        self.next_number = 0 if saved.acked is None else saved.acked + 1
        self._unacked: list[int] = []
        self._next_own = saved.next_own
        self._kept = list(_kept_of(saved.kept))
        self.is_spoken = False
        """Whether the client of this connection takes messages."""

    @property
    def unacked(self) -> int:
        """How many of the client's messages have come whose effect is not in the record."""
        return len(self._unacked)

    @property
    def is_overloaded(self) -> bool:
        """Whether more are unacknowledged than may be."""
        return len(self._unacked) > MAX_UNACKED_MESSAGES

    @property
    def is_transferring(self) -> bool:
        """Whether the client has yet to acknowledge a transfer."""
        return any(isinstance(each.message, Transfer) for each in self._kept)

    def to_record(self) -> SavedMessages | None:
        """Return what another worker needs; `None` where there was no message."""
        if self.through is None and not self._next_own:
            return None
        return SavedMessages(self.through, self._next_own, tuple(each.encoded for each in self._kept))

    def attached(self, next_message: int | None) -> None:
        """A client is there that has had the worker's messages before `next_message`; `None`: it takes none."""
        self.is_spoken = next_message is not None
        for each in self._kept:
            each.is_sent = False
        if next_message is not None:
            self._next_own = max(self._next_own, min(next_message, self._next_own + _MOST_SKIPPED))
            self._forget_before(next_message)

    def received(self, message: NumberedClientMessage) -> bool:
        """Count a message of the client; false where it has come before."""
        if message.number < self.next_number:
            return False
        self.next_number = message.number + 1
        self._unacked.append(message.number)
        return True

    def reach(self, through: int) -> None:
        """The client's messages up to here have had their effect."""
        through = min(through, self.next_number - 1)
        if through >= 0 and (self.through is None or through > self.through):
            self.through = through
            while self._unacked and self._unacked[0] <= through:
                self._unacked.pop(0)

    def saved(self, saved: SavedMessages | None) -> int | None:
        """The record that held `saved` is saved: return the number to acknowledge now, if it is a new one."""
        acked = None if saved is None else saved.acked
        if acked == self.acked:
            return None
        self.acked = acked
        return acked

    def add(self, message: NumberedServerMessage, revision: int) -> Malformed | None:
        """Number a message of the worker and keep it, to be sent when `revision` is saved; or return its fault.

        A call that is kept already is not added again, nor a second transfer.
        """
        if any(_is_repeated(message, each.message) for each in self._kept):
            return None
        message = replace(message, number=self._next_own)
        try:
            encoded = encode_message(message)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return Malformed(f"a message cannot be written: {error}")
        read = decode_server_message(encoded)
        if isinstance(read, Malformed):
            return read
        self._next_own += 1
        self._kept.append(_Kept(message, encoded, revision))
        self._leave_out()
        return None

    def due(self, saved_revision: int) -> list[NumberedServerMessage]:
        """Return the messages to be sent now over this connection, in order; each is returned once."""
        due: list[NumberedServerMessage] = []
        if self.is_spoken:
            for each in self._kept:
                if each.revision > saved_revision:
                    break
                if not each.is_sent:
                    each.is_sent = True
                    due.append(each.message)
        return due

    def acknowledged(self, number: int) -> bool:
        """The client has the worker's messages up to `number`; false where it was not given so many."""
        if number >= self._next_own:
            return False
        self._forget_before(number + 1)
        return True

    def _forget_before(self, number: int) -> None:
        while self._kept and self._kept[0].message.number < number:
            self._kept.pop(0)

    def _leave_out(self) -> None:
        size = sum(len(each.encoded) for each in self._kept)
        while len(self._kept) > _MOST_KEPT or size > _MOST_KEPT_BYTES:
            oldest = next((each for each in self._kept if isinstance(each.message, App)), self._kept[0])
            self._kept.remove(oldest)
            size -= len(oldest.encoded)


def _kept_of(saved: tuple[bytes, ...]) -> Iterator[_Kept]:
    for encoded in saved:
        message = decode_server_message(encoded)
        if isinstance(message, NumberedServerMessage):
            yield _Kept(message, encoded, 0)


def _is_repeated(message: NumberedServerMessage, kept: NumberedServerMessage) -> bool:
    if isinstance(message, ToolCall) and isinstance(kept, ToolCall):
        return message.call_id == kept.call_id
    return isinstance(message, Transfer) and isinstance(kept, Transfer)

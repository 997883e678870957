"""The numbered messages of a call: ours until they are acknowledged, the server's each once. Sans-IO."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec.structs import replace

from voice_client.errors import MessageError
from voicelink.wire import (
    MAX_MESSAGE_BYTES,
    Malformed,
    NumberedClientMessage,
    NumberedServerMessage,
    ToolResult,
    decode_client_message,
    encode_message,
)

_MOST_WAITING: Final = 192
"""Below what a server takes, so that the answers of tools always have room."""


class Messages:
    """Numbers messages from 0, and keeps each until the server has saved its effect.

    `next_expected` is the number of the first message that has not come from the server.
    """

    def __init__(self) -> None:
        self.next_expected = 0
        self.is_supported = True
        """Whether the server of the newest connection takes messages."""
        self._next = 0
        self._kept: deque[NumberedClientMessage] = deque()

    @property
    def unacked(self) -> int:
        """How many messages the server has not acknowledged."""
        return len(self._kept)

    def add(self, message: NumberedClientMessage) -> NumberedClientMessage:
        """Number a message, keep it, and return it to be sent; raises `MessageError` for one that cannot be.

        The answer of a tool is always kept: the worker that asked, or its successor, waits for it.
        """
        is_answer = isinstance(message, ToolResult)
        if not self.is_supported and not is_answer:
            raise MessageError("the server takes neither text nor messages of an application")
        if len(self._kept) >= _MOST_WAITING and not is_answer:
            raise MessageError(f"the server has not acknowledged the last {len(self._kept)} messages")
        message = replace(message, number=self._next)
        try:
            encoded = encode_message(message)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise MessageError(f"a message holds plain values alone: {error}") from None
        if len(encoded) > MAX_MESSAGE_BYTES:
            raise MessageError(f"a message holds at most {MAX_MESSAGE_BYTES} bytes, this one has {len(encoded)}")
        read = decode_client_message(encoded)
        if isinstance(read, Malformed):
            raise MessageError(f"the message cannot be sent: {read.reason}")
        self._next += 1
        self._kept.append(message)
        return message

    def attached(self, next_message: int | None) -> list[NumberedClientMessage] | None:
        """Return what to send over a new connection, whose server says `next_message`; `None` if it cannot say so."""
        self.is_supported = next_message is not None
        if next_message is None:
            return []
        if next_message > self._next:
            return None
        return [message for message in self._kept if message.number >= next_message]

    def acknowledge(self, number: int) -> bool:
        """Forget the messages up to `number`; false where the server acknowledges what was never sent."""
        if number >= self._next:
            return False
        while self._kept and self._kept[0].number <= number:
            self._kept.popleft()
        return True

    def received(self, message: NumberedServerMessage) -> bool:
        """Count a message of the server; false where it has come before."""
        if message.number < self.next_expected:
            return False
        self.next_expected = message.number + 1
        return True

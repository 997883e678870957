"""What the client sends besides audio: texts and keys, which become turns, and messages, which are acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession

from voice_gateway.agent.base import Emit, StateChanged, UserText


class TypedInput:
    """Keeps keys and texts until the session runs. A text is acknowledged with its turn, messages behind it after it.

    `on_digit` gets the session and a key of the telephone.
    """

    def __init__(self, emit: Emit, on_digit: Callable[[AgentSession[Any], str], None]) -> None:
        self._emit = emit
        self._on_digit = on_digit
        self._waiting: list[str | UserText] = []
        """Keys and texts that wait for the session to start."""
        self._texts_due: deque[UserText] = deque()
        """Texts that are no turns yet."""
        self._messages_read: deque[int] = deque()
        """Numbers of other messages that came after such a text: to acknowledge them is to acknowledge it."""

    def add(self, typed: str | UserText) -> None:
        """Take a key, or a text."""
        self._waiting.append(typed)

    def give(self, session: AgentSession[Any]) -> None:
        """Make turns of what waits."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if isinstance(each, UserText):
                self._texts_due.append(each)
                session.interrupt()
                session.generate_reply(user_input=each.text)
            else:
                self._on_digit(session, each)

    def became_turn(self, text: str) -> int | None:
        """Forget the text that became a turn, with those before it: LiveKit drops one that is interrupted.

        Return its number, `None` where `text` was not typed.
        """
        if all(each.text != text for each in self._texts_due):
            return None
        while (typed := self._texts_due.popleft()).text != text:
            pass
        return typed.number

    def message_read(self, number: int) -> None:
        """A message came that is neither."""
        self._messages_read.append(number)
        self.acknowledge()

    def acknowledge(self) -> None:
        """Acknowledge messages up to the first text that is no turn yet."""
        texts = (each for each in (*self._texts_due, *self._waiting) if isinstance(each, UserText))
        numbers = [each.number for each in texts if each.number is not None]
        while self._messages_read and (not numbers or self._messages_read[0] < numbers[0]):
            self._emit(StateChanged(through_message=self._messages_read.popleft()))

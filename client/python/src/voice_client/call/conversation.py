"""What the caller knows of the session: its ID, its worker, the transcript, and the agent's state. Sans-IO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voice_client.events import Connected, Event, StateChanged, Transcript
from voicelink.wire import Ready
from voicelink.wire import State as StateMessage
from voicelink.wire import Transcript as TranscriptMessage


class Conversation:
    """Applies the server's messages and returns the event that each one is to the caller."""

    def __init__(self) -> None:
        self.session: str | None = None
        self.worker: str | None = None
        self.state: Mapping[str, Any] = {}
        self.revision = 0
        self._lines: dict[tuple[int, str], Transcript] = {}

    @property
    def transcript(self) -> tuple[Transcript, ...]:
        """What was said, in order; a line that is not final may still change."""
        return tuple(self._lines.values())

    @property
    def newest_turn(self) -> int:
        """The last turn in which something final was said."""
        return max((line.turn for line in self._lines.values() if line.is_final), default=0)

    def apply(self, message: Ready | TranscriptMessage | StateMessage) -> Event | None:
        """Take a message over; `None` where it is older than what is known."""
        if isinstance(message, Ready):
            self.session, self.worker = message.session, message.worker
            self.revision = 0  # what was not saved when the worker before was lost is counted anew
            return Connected(message.session, message.worker)
        if isinstance(message, StateMessage):
            if message.revision < self.revision:
                return None
            self.state, self.revision = message.state, message.revision
            return StateChanged(message.revision, message.state)
        line = Transcript(message.turn, message.role, message.text, message.is_final)
        self._lines[(line.turn, line.role)] = line
        return line

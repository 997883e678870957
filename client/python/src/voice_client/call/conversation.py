"""What the caller knows of the session: its ID, its worker, the transcript, and the agent's state. Sans-IO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voice_client.events import Connected, Event, StateChanged, Transcript
from voicelink.wire import Ready
from voicelink.wire import State as StateMessage
from voicelink.wire import Transcript as TranscriptMessage


class TranscriptLines:
    """The lines of a transcript: one for each turn of the caller, and one for each utterance of the agent."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int | None, int, str], Transcript] = {}

    @property
    def lines(self) -> tuple[Transcript, ...]:
        """What was said, in order; a line that is not final may still change."""
        return tuple(self._lines.values())

    @property
    def newest_turn(self) -> int:
        """The last turn in which something final was said."""
        return max((line.turn for line in self._lines.values() if line.is_final), default=0)

    def take(self, line: Transcript) -> None:
        """Add a line in its place, or in that of the one that it replaces."""
        key = self._key(line)
        former = [each for each, known in self._lines.items() if each == key or known.utterance_id in line.replaces]
        if not former:
            self._lines[key] = line
            return
        self._lines = {
            key if each == former[0] else each: line if each == former[0] else known
            for each, known in self._lines.items()
            if each == former[0] or each not in former
        }

    def resumed(self) -> None:
        """The server repeats what was said from the newest turn on."""
        newest = self.newest_turn
        self._lines = {key: line for key, line in self._lines.items() if line.turn < newest}

    @staticmethod
    def _key(line: Transcript) -> tuple[int | None, int, str]:
        """An agent's line of an older server, or one that was cut short, has no utterance: it is known by its turn."""
        return (None, line.turn, line.role) if line.utterance_id is None else (line.utterance_id, 0, line.role)


class Conversation:
    """Applies the server's messages and returns the event that each one is to the caller."""

    def __init__(self) -> None:
        self.session: str | None = None
        self.worker: str | None = None
        self.state: Mapping[str, Any] = {}
        self.revision = 0
        self._transcript = TranscriptLines()

    @property
    def transcript(self) -> tuple[Transcript, ...]:
        """What was said, in order; a line that is not final may still change."""
        return self._transcript.lines

    @property
    def newest_turn(self) -> int:
        """The last turn in which something final was said."""
        return self._transcript.newest_turn

    def apply(self, message: Ready | TranscriptMessage | StateMessage) -> Event | None:
        """Take a message over; `None` where it is older than what is known."""
        if isinstance(message, Ready):
            self.session, self.worker = message.session, message.worker
            self._transcript.resumed()
            self.revision = 0  # what was not saved when the worker before was lost is counted anew
            return Connected(message.session, message.worker)
        if isinstance(message, StateMessage):
            if message.revision < self.revision:
                return None
            self.state, self.revision = message.state, message.revision
            return StateChanged(message.revision, message.state)
        line = Transcript(
            message.turn, message.role, message.text, message.is_final, message.utterance_id, message.replaces
        )
        self._transcript.take(line)
        return line

"""The transcript of one call in its host: what the worker gave at `open`, and what was emitted since. Sans-IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from voice_gateway.agent.base import AgentEvent, FinalTranscript, PlaybackFinished, Reply, ReplyEnded, ReplyText
from voice_gateway.store.base import Line


class CallTranscript:
    """Follows the worker's session record by the same events, without asking the worker."""

    def __init__(self, lines: Iterable[Line], turn: int) -> None:
        self._lines = list(lines)
        self._turn = turn
        self._unplayed: deque[Line] = deque()
        self._again: str | None = None
        self._is_replying = False

    def lines(self) -> tuple[Line, ...]:
        """Return what was said: of an interrupted reply what was played."""
        return tuple(line for line in self._lines if line.text)

    def say_again(self, text: str) -> None:
        """The next reply of this text takes the place of the lines that it repeats."""
        self._again = text

    def emitted(self, event: AgentEvent) -> None:
        """Follow what the agent said or understood."""
        if isinstance(event, FinalTranscript):
            self._turn += 1
            self._lines.append(Line(self._turn, "user", event.text))
        elif isinstance(event, Reply):
            turn, again, self._again = self._turn, self._again, None
            if again == event.text:
                self._unplayed.clear()
                turn = self._without(again)
            line = Line(turn, "agent", event.text)
            self._lines.append(line)
            self._unplayed.append(line)
            self._is_replying = True
        elif isinstance(event, ReplyText) and self._is_replying and self._unplayed:
            self._unplayed[-1] = self._reword(self._unplayed[-1], event.text)
        elif isinstance(event, ReplyEnded):
            self._is_replying = False

    def playback_finished(self, playback: PlaybackFinished) -> None:
        """Of a reply that was cut off only what was played was said."""
        if not self._unplayed:
            return
        line = self._unplayed.popleft()
        if playback.is_interrupted:
            self._reword(line, playback.text)

    def _reword(self, line: Line, text: str) -> Line:
        reworded = Line(line.turn, line.role, text)
        for position in range(len(self._lines) - 1, -1, -1):
            if self._lines[position] is line:
                self._lines[position] = reworded
                break
        return reworded

    def _without(self, text: str) -> int:
        """Remove the last lines that make up `text`, and return their turn."""
        for count in range(1, len(self._lines) + 1):
            tail = self._lines[-count:]
            said = " ".join(line.text for line in tail if line.role == "agent")
            if said == text:
                turn = tail[-1].turn
                self._lines[-count:] = [line for line in tail if line.role != "agent"]
                return turn
            if len(said) > len(text):
                break
        return self._turn

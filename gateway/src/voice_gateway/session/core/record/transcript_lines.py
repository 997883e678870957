"""The transcript of a session record: what was said, and of answers what was played. Sans-IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from voice_gateway.session.core.speech.utterances.utterance import Cut
from voice_gateway.store.base import Line

_LONGEST_TRANSCRIPT = 2_000
_MOST_CHARACTERS = 500_000
"""Ten hours of speech: the record is written whole at each save."""


class TranscriptLines:
    """The newest lines, oldest first. `on_change` is called once for each change of what the agent said."""

    def __init__(self, lines: Sequence[Line], utterance_id: int, on_change: Callable[[], None]) -> None:
        self.utterance_id = utterance_id
        """The newest utterance that has a line, or whose rest goes on."""
        self._lines = deque(lines, _LONGEST_TRANSCRIPT)
        self._on_change = on_change

    @property
    def has_answered(self) -> bool:
        """Whether the last word was the agent's."""
        return bool(self._lines) and self._lines[-1].role == "agent"

    def understood(self, turn: int, text: str) -> None:
        """The caller said `text`; the change of the record is that of the turn."""
        self._lines.append(Line(turn, "user", text))
        self._shorten()

    def answered(self, turn: int, utterance_id: int, text: str) -> None:
        """The agent begins to say `text`."""
        self.utterance_id = utterance_id
        self._lines.append(Line(turn, "agent", text, utterance_id))
        self._shorten()
        self._on_change()

    def reworded(self, utterance_id: int, text: str) -> int | None:
        """The agent says `text` as `utterance_id`; return its turn, or `None` if there is no such line."""
        for position in reversed(range(len(self._lines))):
            line = self._lines[position]
            if line.utterance_id == utterance_id:
                self._lines[position] = replace(line, text=text)
                self._shorten()
                self._on_change()
                return line.turn
        return None

    def answered_again(self, lines: Sequence[Line], text: str, utterance_id: int, skipped_ms: int) -> None:
        """The agent says once more what it said in `lines`, now as `utterance_id` and from `skipped_ms` on."""
        self.utterance_id = utterance_id
        self._lines = deque((line for line in self._lines if line not in lines), _LONGEST_TRANSCRIPT)
        self._lines.append(Line(lines[-1].turn, "agent", text, utterance_id, skipped_ms))
        self._on_change()

    def renumbered(self, former_id: int, utterance_id: int, skipped_ms: int) -> int | None:
        """The rest of the answer `former_id`, behind `skipped_ms`, is now `utterance_id`.

        Return its turn, `None` if its line was too old to be kept.
        """
        self.utterance_id = max(utterance_id, self.utterance_id)
        self._on_change()
        for position, line in enumerate(self._lines):
            if line.utterance_id == former_id:
                self._lines[position] = replace(line, utterance_id=utterance_id, skipped_ms=skipped_ms)
                return line.turn
        return None

    def interrupted(self, cuts: Sequence[Cut]) -> None:
        """Answers were cut off: the transcript keeps what was played, not what was to be said."""
        said = {cut.utterance_id: cut.said for cut in cuts}
        for position, line in enumerate(self._lines):
            if line.utterance_id in said:
                self._lines[position] = Line(line.turn, line.role, said[line.utterance_id])
        self._on_change()

    def unsaid(self, next_utterance_id: int) -> tuple[Line, ...]:
        """The answers from `next_utterance_id` on: what was not played to its end."""
        return tuple(line for line in self._lines if (line.utterance_id or -1) >= max(next_utterance_id, 1))

    def since(self, turn: int) -> tuple[Line, ...]:
        """What was said in that turn and after it."""
        return tuple(line for line in self._lines if line.turn >= turn and line.text)

    def _shorten(self) -> None:
        over = sum(len(line.text) for line in self._lines) - _MOST_CHARACTERS
        while over > 0 and len(self._lines) > 1:
            over -= len(self._lines.popleft().text)

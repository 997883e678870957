"""What a session must not lose, and which part of it is saved."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.session.replies import Cut
from gateway.store.base import SessionRecord

_LONGEST_TRANSCRIPT = 2_000


class Ledger:
    """The state that follows from the frames up to `through_sequence`, with one save of it under way at most.

    `heard_sequence` is what may be acknowledged: it only moves when a save has been confirmed.
    """

    def __init__(self, session_id: str, silence_interval_s: float) -> None:
        self.session_id = session_id
        self.revision = 0
        self.turn = 0
        self.state: Mapping[str, Any] = {}
        self.through_sequence: int | None = None
        self.heard_sequence: int | None = None
        self._transcript: deque[_Entry] = deque(maxlen=_LONGEST_TRANSCRIPT)
        self._silence_interval_s = silence_interval_s
        self._silence_due = 0.0
        self._revised_through: int | None = None
        self._saved_revision = 0
        self._saving: SessionRecord | None = None

    @property
    def is_saved(self) -> bool:
        """Whether a process that ended now would lose nothing."""
        return self._saved_revision == self.revision

    def understood(self, text: str, through_sequence: int | None, state: Mapping[str, Any] | None) -> None:
        """A turn of the caller is complete."""
        self.turn += 1
        self._transcript.append(_Entry("user", text))
        if state is not None:
            self.state = state
        self._reach(through_sequence)
        self._revise()

    def silent(self, through_sequence: int | None, now: float) -> None:
        """Nothing was said up to here. Worth a save only once in a while: it moves nothing but the cursor."""
        if self._reach(through_sequence) and now >= self._silence_due:
            self._silence_due = now + self._silence_interval_s
            self._revise()

    def completed(self, through_sequence: int | None) -> None:
        """Every frame received has had its effect."""
        self._reach(through_sequence)
        if self.through_sequence != self._revised_through:
            self._revise()

    def answered(self, generation: int, text: str) -> None:
        """The agent begins to say `text`."""
        self._transcript.append(_Entry("agent", text, generation))
        self._revise()

    def interrupted(self, cuts: tuple[Cut, ...]) -> None:
        """The transcript keeps what was heard, not what was to be said."""
        said = {cut.generation: cut.said for cut in cuts}
        for entry in self._transcript:
            if entry.generation in said:
                entry.text = said[entry.generation]
        self._revise()

    def next_save(self) -> SessionRecord | None:
        """Return what must be saved now, if anything; answer with `saved` or `failed`."""
        if self._saving is not None or self.is_saved:
            return None
        self._saving = SessionRecord(
            session_id=self.session_id,
            revision=self.revision,
            heard_sequence=self.through_sequence,
            turn=self.turn,
            transcript=tuple((entry.role, entry.text) for entry in self._transcript if entry.text),
            state=self.state,
        )
        return self._saving

    def saved(self, revision: int) -> int | None:
        """The save of `revision` returned: give the sequence that may be acknowledged now, if it is a new one."""
        record = self._saving
        if record is None or record.revision != revision:
            return None
        self._saving = None
        self._saved_revision = revision
        if record.heard_sequence == self.heard_sequence:
            return None
        self.heard_sequence = record.heard_sequence
        return self.heard_sequence

    def failed(self, revision: int) -> bool:
        """The save of `revision` failed: `next_save` offers the record again. False if it was not under way."""
        if self._saving is None or self._saving.revision != revision:
            return False
        self._saving = None
        return True

    def _revise(self) -> None:
        self.revision += 1
        self._revised_through = self.through_sequence

    def _reach(self, through_sequence: int | None) -> bool:
        if through_sequence is None or (
            self.through_sequence is not None and through_sequence <= self.through_sequence
        ):
            return False
        self.through_sequence = through_sequence
        return True


@dataclass(slots=True)
class _Entry:
    role: str
    text: str
    generation: int | None = None

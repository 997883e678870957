"""The session record: what of a session must not be lost, and which part of it is saved. Sans-IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from voice_gateway.session.core.record.numbered_messages import NumberedMessages
from voice_gateway.session.core.record.resume_tokens import ResumeTokens
from voice_gateway.session.core.speech.utterances.utterance import Cut
from voice_gateway.store.base import Line, SessionRecord

_LONGEST_TRANSCRIPT = 2_000
_MOST_CHARACTERS = 500_000
"""Of the transcript, ten hours of speech: the record is written whole at each save."""


@dataclass(frozen=True, slots=True)
class Acks:
    """The last uplink frame, and the last message of the client, whose effect is saved; `None` where nothing is new."""

    sequence: int | None = None
    message: int | None = None


class RecordTracker:
    """The state that follows from the frames up to `through_sequence`, with one save of it under way at most.

    `acked_sequence` is what may be acknowledged: it only moves when a save has been confirmed. `record` is what another
    worker, `owner`'s predecessor, had saved.
    """

    def __init__(
        self,
        session_id: str,
        silence_interval_s: float,
        owner: str = "",
        record: SessionRecord | None = None,
        subject: str | None = None,
    ) -> None:
        self.session_id = session_id
        self.owner = owner
        self.subject = subject
        self.epoch = 1
        self.revision = 0
        self.turn = 0
        self.state: Mapping[str, Any] = {}
        self.private_state: Mapping[str, Any] = {}
        self.through_sequence: int | None = None
        self.acked_sequence: int | None = None
        self.resume_tokens = ResumeTokens()
        self.messages = NumberedMessages(None if record is None else record.messages)
        self.recording_consent: bool | None = None
        self._utterance_id = 0
        self._transcript: deque[Line] = deque(maxlen=_LONGEST_TRANSCRIPT)
        self._silence_interval_s = silence_interval_s
        self._silence_due = 0.0
        if record is not None:
            self.epoch, self.revision, self.turn, self.state = record.epoch, record.revision, record.turn, record.state
            self.private_state = record.private_state
            self.through_sequence = self.acked_sequence = record.acked_sequence
            self.resume_tokens = ResumeTokens(record.token_hashes)
            self.recording_consent = record.recording_consent
            self._utterance_id = record.utterance_id
            self._transcript.extend(record.transcript)
        self._revised_through = self.through_sequence
        self._saved_revision = self.revision
        self._saving: SessionRecord | None = None
        self._claim: SessionRecord | None = None

    @property
    def is_saved(self) -> bool:
        """Whether a process that ended now would lose nothing."""
        return self._saved_revision == self.revision

    def opens_to(self, token: str, subject: str | None) -> bool:
        """Whether a caller whom its access token names `subject` may go on with the session by this resume token."""
        return self.subject == subject and self.resume_tokens.accepts(token)

    @property
    def saved_revision(self) -> int:
        """The newest revision that is saved."""
        return self._saved_revision

    def understood(
        self,
        text: str,
        through_sequence: int | None,
        state: Mapping[str, Any] | None,
        private_state: Mapping[str, Any] | None = None,
    ) -> None:
        """A turn of the caller is complete."""
        self.turn += 1
        self._transcript.append(Line(self.turn, "user", text))
        self._shorten()
        self._reach(through_sequence)
        self.state_changed(state, private_state)

    def state_changed(self, state: Mapping[str, Any] | None, private_state: Mapping[str, Any] | None) -> None:
        """The agent's state is now this; `None` where a part did not change."""
        if state is not None:
            self.state = state
        if private_state is not None:
            self.private_state = private_state
        self._revise()

    def silent(self, through_sequence: int | None, now: float) -> None:
        """No speech came up to here. Saved once an interval at most: it moves nothing but the cursor."""
        if self._reach(through_sequence) and now >= self._silence_due:
            self._silence_due = now + self._silence_interval_s
            self._revise()

    def completed(self, through_sequence: int | None) -> None:
        """Every frame received has had its effect."""
        self._reach(through_sequence)
        if self.through_sequence != self._revised_through:
            self._revise()

    def answered(self, utterance_id: int, text: str) -> None:
        """The agent begins to say `text`."""
        self._utterance_id = utterance_id
        self._transcript.append(Line(self.turn, "agent", text, utterance_id))
        self._shorten()
        self._revise()

    def reworded(self, utterance_id: int, text: str) -> int | None:
        """The agent says `text` as `utterance_id`; return its turn, or `None` if the record has no such line."""
        for position in reversed(range(len(self._transcript))):
            line = self._transcript[position]
            if line.utterance_id == utterance_id:
                self._transcript[position] = replace(line, text=text)
                self._shorten()
                self._revise()
                return line.turn
        return None

    def answered_again(self, lines: Sequence[Line], text: str, utterance_id: int, skipped_ms: int) -> None:
        """The agent says once more what it said in `lines`, now as `utterance_id` and from `skipped_ms` on."""
        self._utterance_id = utterance_id
        self._transcript = deque((line for line in self._transcript if line not in lines), _LONGEST_TRANSCRIPT)
        self._transcript.append(Line(lines[-1].turn, "agent", text, utterance_id, skipped_ms))
        self._revise()

    def renumbered(self, former_id: int, utterance_id: int, skipped_ms: int) -> int:
        """The rest of the answer `former_id`, behind `skipped_ms`, is now `utterance_id`; return its turn."""
        self._utterance_id = max(utterance_id, self._utterance_id)
        self._revise()
        for position, line in enumerate(self._transcript):
            if line.utterance_id == former_id:
                self._transcript[position] = replace(line, utterance_id=utterance_id, skipped_ms=skipped_ms)
                return line.turn
        return self.turn  # its line was too old to be kept

    def interrupted(self, cuts: tuple[Cut, ...]) -> None:
        """Answers were cut off: the transcript keeps what was played, not what was to be said."""
        said = {cut.utterance_id: cut.said for cut in cuts}
        for position, line in enumerate(self._transcript):
            if line.utterance_id in said:
                self._transcript[position] = Line(line.turn, line.role, said[line.utterance_id])
        self._revise()

    def changed(self) -> None:
        """Something else of the record changed."""
        self._revise()

    def unsaid(self, next_utterance_id: int) -> tuple[Line, ...]:
        """The answers from `next_utterance_id` on: what was not played to its end."""
        return tuple(line for line in self._transcript if (line.utterance_id or -1) >= max(next_utterance_id, 1))

    def lines_since(self, turn: int) -> tuple[Line, ...]:
        """What was said in that turn and after it."""
        return tuple(line for line in self._transcript if line.turn >= turn and line.text)

    @property
    def has_answered(self) -> bool:
        """Whether the last word was the agent's."""
        return bool(self._transcript) and self._transcript[-1].role == "agent"

    def record(self) -> SessionRecord:
        """Everything as it is now, saved or not."""
        return SessionRecord(
            session_id=self.session_id,
            revision=self.revision,
            acked_sequence=self.through_sequence,
            turn=self.turn,
            transcript=tuple(line for line in self._transcript if line.text),
            state=self.state,
            epoch=self.epoch,
            owner=self.owner,
            utterance_id=self._utterance_id,
            token_hashes=self.resume_tokens.hashes,
            subject=self.subject,
            private_state=self.private_state,
            messages=self.messages.to_record(),
            recording_consent=self.recording_consent,
        )

    def claim(self, resume_tokens: ResumeTokens) -> SessionRecord:
        """What to claim the session with; call `claimed` once that was done."""
        self._claim = replace(self.record(), epoch=self.epoch + 1, token_hashes=resume_tokens.hashes)
        return self._claim

    def has_claimed(self, stored: SessionRecord) -> bool:
        """Whether what the store holds is this process's own claim; another of the same name has other tokens."""
        mine = self._claim
        return mine is not None and (stored.epoch, stored.token_hashes) == (mine.epoch, mine.token_hashes)

    def claimed(self, record: SessionRecord) -> None:
        """The session is this worker's under a new epoch: saves of the old one that are under way will fail."""
        self.epoch = record.epoch

    def next_save(self) -> SessionRecord | None:
        """Return what must be saved now, if anything; answer with `saved` or `failed`."""
        if self._saving is not None or self.is_saved:
            return None
        self._saving = self.record()
        return self._saving

    def saved(self, revision: int) -> Acks:
        """The save of `revision` returned: give what may be acknowledged now."""
        record = self._saving
        if record is None or record.revision != revision:
            return Acks()
        self._saving = None
        self._saved_revision = revision
        is_new = record.acked_sequence != self.acked_sequence
        self.acked_sequence = record.acked_sequence
        return Acks(self.acked_sequence if is_new else None, self.messages.saved(record.messages))

    def failed(self, revision: int) -> bool:
        """The save of `revision` failed: `next_save` offers the record again. False if it was not under way."""
        if self._saving is None or self._saving.revision != revision:
            return False
        self._saving = None
        return True

    def _shorten(self) -> None:
        """Forget the oldest lines of a transcript that is too long."""
        over = sum(len(line.text) for line in self._transcript) - _MOST_CHARACTERS
        while over > 0 and len(self._transcript) > 1:
            over -= len(self._transcript.popleft().text)

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

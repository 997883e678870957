"""The session record: what of a session must not be lost, and which part of it is saved. Sans-IO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voice_gateway.session.core.record.numbered_messages import NumberedMessages
from voice_gateway.session.core.record.record_ownership import RecordOwnership
from voice_gateway.session.core.record.record_saves import RecordSaves
from voice_gateway.session.core.record.resume_tokens import ResumeTokens
from voice_gateway.session.core.record.transcript_lines import TranscriptLines
from voice_gateway.store.base import SessionRecord


class RecordTracker:
    """The state that follows from the frames up to `through_sequence`; each change of it is a `revision`.

    `record` is what another worker, `owner`'s predecessor, had saved.
    """

    def __init__(
        self,
        session_id: str,
        silence_interval_s: float,
        owner: str = "",
        record: SessionRecord | None = None,
        subject: str | None = None,
    ) -> None:
        record = record or SessionRecord(session_id, 0, None, 0, (), {})
        self.session_id = session_id
        self.subject = subject
        self.revision = record.revision
        self.turn = record.turn
        self.state = record.state
        self.private_state = record.private_state
        self.through_sequence = record.acked_sequence
        self.resume_tokens = ResumeTokens(record.token_hashes)
        self.recording_consent = record.recording_consent
        self.ownership = RecordOwnership(owner, record.epoch)
        self.messages = NumberedMessages(record.messages)
        self.transcript = TranscriptLines(record.transcript, record.utterance_id, self.changed)
        self.saves = RecordSaves(self.messages, record.revision, record.acked_sequence)
        self._silence_interval_s = silence_interval_s
        self._silence_due = 0.0
        self._revised_through = self.through_sequence

    @property
    def is_saved(self) -> bool:
        """Whether a process that ended now would lose nothing."""
        return self.saves.revision == self.revision

    def understood(
        self,
        text: str,
        through_sequence: int | None,
        state: Mapping[str, Any] | None,
        private_state: Mapping[str, Any] | None = None,
    ) -> None:
        """A turn of the caller is complete."""
        self.turn += 1
        self.transcript.understood(self.turn, text)
        self._reach(through_sequence)
        self.state_changed(state, private_state)

    def state_changed(self, state: Mapping[str, Any] | None, private_state: Mapping[str, Any] | None) -> None:
        """The agent's state is now this; `None` where a part did not change."""
        if state is not None:
            self.state = state
        if private_state is not None:
            self.private_state = private_state
        self.changed()

    def silent(self, through_sequence: int | None, now: float) -> None:
        """No speech came up to here. Saved once an interval at most: it moves nothing but the cursor."""
        if self._reach(through_sequence) and now >= self._silence_due:
            self._silence_due = now + self._silence_interval_s
            self.changed()

    def completed(self, through_sequence: int | None) -> None:
        """Every frame received has had its effect."""
        self._reach(through_sequence)
        if self.through_sequence != self._revised_through:
            self.changed()

    def changed(self) -> None:
        """A part of the record changed."""
        self.revision += 1
        self._revised_through = self.through_sequence

    def record(self) -> SessionRecord:
        """Everything as it is now, saved or not."""
        return SessionRecord(
            session_id=self.session_id,
            revision=self.revision,
            acked_sequence=self.through_sequence,
            turn=self.turn,
            transcript=self.transcript.since(0),
            state=self.state,
            epoch=self.ownership.epoch,
            owner=self.ownership.owner,
            utterance_id=self.transcript.utterance_id,
            token_hashes=self.resume_tokens.hashes,
            subject=self.subject,
            private_state=self.private_state,
            messages=self.messages.to_record(),
            recording_consent=self.recording_consent,
        )

    def next_save(self) -> SessionRecord | None:
        """Return what must be saved now, if anything; answer with `saves.succeeded` or `saves.failed`."""
        if self.saves.is_under_way or self.is_saved:
            return None
        return self.saves.begin(self.record())

    def _reach(self, through_sequence: int | None) -> bool:
        if through_sequence is None or (
            self.through_sequence is not None and through_sequence <= self.through_sequence
        ):
            return False
        self.through_sequence = through_sequence
        return True

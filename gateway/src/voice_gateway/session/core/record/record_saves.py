"""The saves of a session record, one under way at most, and what may be acknowledged after each. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass

from voice_gateway.session.core.record.numbered_messages import NumberedMessages
from voice_gateway.store.base import SessionRecord


@dataclass(frozen=True, slots=True)
class Acks:
    """The last uplink frame, and the last message of the client, whose effect is saved; `None` where nothing is new."""

    sequence: int | None = None
    message: int | None = None


class RecordSaves:
    """Follows each save from `begin` until it `succeeded` or `failed`; other revisions are ignored."""

    def __init__(self, messages: NumberedMessages, revision: int, acked_sequence: int | None) -> None:
        self.revision = revision
        """The newest that is saved."""
        self.acked_sequence = acked_sequence
        """The last uplink frame that may be acknowledged: its effect is in the store."""
        self._messages = messages
        self._saving: SessionRecord | None = None

    @property
    def is_under_way(self) -> bool:
        return self._saving is not None

    def begin(self, record: SessionRecord) -> SessionRecord:
        """This record is to be saved now; none may be under way."""
        self._saving = record
        return record

    def succeeded(self, revision: int) -> Acks:
        """The save of `revision` returned: give what may be acknowledged now."""
        record = self._saving
        if record is None or record.revision != revision:
            return Acks()
        self._saving = None
        self.revision = revision
        is_new = record.acked_sequence != self.acked_sequence
        self.acked_sequence = record.acked_sequence
        return Acks(self.acked_sequence if is_new else None, self._messages.saved(record.messages))

    def failed(self, revision: int) -> bool:
        """The save of `revision` failed, and may begin again. False if it was not under way."""
        if self._saving is None or self._saving.revision != revision:
            return False
        self._saving = None
        return True

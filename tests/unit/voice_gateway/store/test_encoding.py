"""The stored layout: workers of two versions read each other's records in a rolling update."""

from __future__ import annotations

import msgspec

from voice_gateway.store.base import Line, SessionRecord
from voice_gateway.store.encoding import RecordCodec


def test_records_keep_the_keys_of_version_1() -> None:
    record = SessionRecord("s", 1, 5, 1, (Line(1, "agent", "hi", 2, 40),), {"items": []}, utterance_id=2)
    stored = msgspec.msgpack.decode(RecordCodec().encode(record))
    assert list(stored) == [
        *("session_id", "revision", "heard_sequence", "turn", "transcript", "state", "epoch", "owner", "generation"),
        *("token_hashes", "version", "subject", "private_state", "messages", "recording_consent"),
    ]
    assert stored["transcript"] == [{"turn": 1, "role": "agent", "text": "hi", "generation": 2, "heard_ms": 40}]
    assert RecordCodec().decode("s", RecordCodec().encode(record)) == record


def test_a_record_without_a_private_state_is_read() -> None:
    stored = msgspec.msgpack.decode(RecordCodec().encode(SessionRecord("s", 1, 5, 1, (), {})))
    del stored["private_state"], stored["messages"], stored["recording_consent"]
    record = RecordCodec().decode("s", msgspec.msgpack.encode(stored))
    assert record is not None
    assert record.private_state == {}

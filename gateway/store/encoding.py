"""A session's record as octets, and back."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.errors import StoreError
from gateway.store.base import RECORD_VERSION, SessionRecord

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(SessionRecord)


def encode_record(record: SessionRecord) -> bytes:
    """Return the record as MessagePack; what the state cannot hold raises `StoreError`."""
    try:
        return _ENCODER.encode(record)
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"the session's state cannot be saved: {error}") from None


def decode_record(octets: bytes) -> SessionRecord:
    """Read what `encode_record` wrote; raises `StoreError` for another layout, or none."""
    try:
        record = _DECODER.decode(octets)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"a session's record cannot be read: {error}") from None
    if record.version != RECORD_VERSION:
        raise StoreError(f"a session's record has version {record.version}, this worker reads {RECORD_VERSION}")
    return record

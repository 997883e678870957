"""Decodes the events of vendors that name the kind of each in its `type`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec


class _Type(msgspec.Struct, frozen=True):
    type: str


_TYPE: Final = msgspec.json.Decoder(_Type)


def event_type(message: str | bytes) -> str:
    """Return the `type` of a JSON map; raises `msgspec.DecodeError`."""
    return _TYPE.decode(message).type


class EventDecoder:
    """Decodes the kinds that matter, each into its struct."""

    def __init__(self, kinds: Mapping[str, type[msgspec.Struct]]) -> None:
        self._decoders = {kind: msgspec.json.Decoder(struct) for kind, struct in kinds.items()}

    def decode(self, message: str | bytes) -> tuple[str, Any] | None:
        """Return the type and its struct, `None` for a type that is skipped; raises `msgspec.DecodeError`."""
        kind = event_type(message)
        decoder = self._decoders.get(kind)
        return None if decoder is None else (kind, decoder.decode(message))

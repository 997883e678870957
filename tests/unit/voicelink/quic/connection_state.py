"""What a connection holds, as plain values that can be compared."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Any

from aioquic.quic.rangeset import RangeSet

# What tells nothing of the connection's behaviour: the fast path itself, what differs by the secrets of the handshake,
# and which of the two ways took a packet last.
NOT_COMPARED = {
    "Connection": {"_fast_path", "options", "tls"},
    "SteadyState": {"holds", "has_stream_data"},
    "AckPolicy": {"_context", "_frames"},
    "QuicStream": {"_stream_id"},
    "QuicSentPacket": {"quic_logger_frames"},
    "QuicConfiguration": {"certificate", "private_key", "certificate_chain"},
}


def state_of(value: Any, seen: frozenset[int] = frozenset()) -> Any:
    """All that a connection holds, as plain values: each attribute of each part, but for `NOT_COMPARED`."""
    if value is None or isinstance(value, bool | int | float | bytes | str | Enum | range):
        return value
    if id(value) in seen:
        return "above"
    seen |= {id(value)}
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, dict):
        return {state_of(key, seen): state_of(each, seen) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(repr, (state_of(each, seen) for each in value)))
    if isinstance(value, list | tuple | deque | RangeSet):
        return [state_of(each, seen) for each in value]
    kind = type(value)
    if kind.__module__.partition(".")[0] not in ("aioquic", "voicelink") or isinstance(value, logging.LoggerAdapter):
        return getattr(value, "__qualname__", kind.__qualname__)
    slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
    names = [*getattr(value, "__dict__", ()), *(name for name in slots if hasattr(value, name))]
    ignored = NOT_COMPARED.get(kind.__name__, set())
    return kind.__name__, {name: state_of(getattr(value, name), seen) for name in names if name not in ignored}


def differences(left: Any, right: Any, path: str = "") -> Iterator[str]:
    """Where two states differ."""
    if type(left) is not type(right) or isinstance(left, str | bytes | int | float | Enum | range | None):
        if left != right:
            yield f"{path}: {left!r} != {right!r}"
    elif isinstance(left, dict):
        for key in left.keys() | right.keys():
            yield from differences(left.get(key), right.get(key), f"{path}.{key}")
    elif len(left) != len(right):
        yield f"{path}: {left!r} != {right!r}"
    else:
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from differences(one, other, path if index == 1 and len(left) == 2 else f"{path}[{index}]")

"""TLS messages and their length-prefixed blocks (RFC 8446 section 3.4), in place of aioquic's generators.

A handshake reads and writes some sixty of them. A generator as a context manager costs several calls; these cost two.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from aioquic import tls
from aioquic._buffer import Buffer

T = TypeVar("T")


def install() -> None:
    """Have aioquic's TLS read and write its messages by these."""
    module: Any = tls
    module.pull_block, module.push_block = PullBlock, PushBlock
    module.pull_opaque, module.push_opaque, module.push_extension = pull_opaque, push_opaque, push_extension
    module.pull_list, module.push_message = pull_list, PushMessage


class PullBlock:
    """`with PullBlock(buf, capacity) as length`: the block must be read to its end, and no further.

    `capacity` is the size of its length in bytes. Raises `tls.AlertDecodeError` otherwise.
    """

    __slots__ = ("_buf", "_capacity", "_end")

    def __init__(self, buf: Buffer, capacity: int) -> None:
        self._buf = buf
        self._capacity = capacity
        self._end = 0

    def __enter__(self) -> int:
        length = int.from_bytes(self._buf.pull_bytes(self._capacity), "big")
        self._end = self._buf.tell() + length
        return length

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._buf.tell() != self._end:
            raise tls.AlertDecodeError("extra bytes at the end of a block")


class PushBlock:
    """`with PushBlock(buf, capacity)`: what is written gets its length in front, in `capacity` bytes."""

    __slots__ = ("_buf", "_capacity", "_start")

    def __init__(self, buf: Buffer, capacity: int) -> None:
        self._buf = buf
        self._capacity = capacity
        self._start = 0

    def __enter__(self) -> None:
        self._start = self._buf.tell()
        self._buf.seek(self._start + self._capacity)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            buf, start, capacity = self._buf, self._start, self._capacity
            end = buf.tell()
            buf.seek(start)
            buf.push_bytes((end - start - capacity).to_bytes(capacity, "big"))
            buf.seek(end)


class PushMessage:
    """`with PushMessage(schedule, buf)`: what is written is a message, and goes into the transcript hash."""

    __slots__ = ("_buf", "_schedule", "_start")

    def __init__(self, schedule: tls.KeySchedule | tls.KeyScheduleProxy, buf: Buffer) -> None:
        self._schedule = schedule
        self._buf = buf
        self._start = 0

    def __enter__(self) -> None:
        self._start = self._buf.tell()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._schedule.update_hash(self._buf.data_slice(self._start, self._buf.tell()))


def push_extension(buf: Buffer, extension_type: int) -> PushBlock:
    """`with push_extension(buf, extension_type)`: what is written is the extension's data."""
    buf.push_uint16(extension_type)
    return PushBlock(buf, 2)


def pull_opaque(buf: Buffer, capacity: int) -> bytes:
    """Read a block whose content is plain bytes."""
    return buf.pull_bytes(int.from_bytes(buf.pull_bytes(capacity), "big"))


def pull_list(buf: Buffer, capacity: int, pull: Callable[[], T]) -> list[T]:
    """Read a block of items by `pull`, which raises `tls.SkipItem` for one to leave out."""
    length = int.from_bytes(buf.pull_bytes(capacity), "big")
    end = buf.tell() + length
    items = []
    while buf.tell() < end:
        try:
            items.append(pull())
        except tls.SkipItem:
            continue
    if buf.tell() != end:
        raise tls.AlertDecodeError("extra bytes at the end of a block")
    return items


def push_opaque(buf: Buffer, capacity: int, value: bytes) -> None:
    """Write a block whose content is plain bytes."""
    buf.push_bytes(len(value).to_bytes(capacity, "big"))
    buf.push_bytes(value)

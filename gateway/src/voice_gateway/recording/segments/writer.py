"""Writes segments to a folder, from a thread of its own, so that no call waits for the disk.

What waits for the disk is bounded. Beyond the bound, and where the disk refuses, records are dropped and counted, and
once there is room again a `Hole` stands where they are missing: the call goes on.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.errors import loggable
from voice_gateway.recording.segments.format import (
    AUDIO_SUFFIX,
    EVENTS_SUFFIX,
    WORDS_SUFFIX,
    Downlink,
    Head,
    Hole,
    Record,
    Uplink,
    Words,
    encode_block,
)

TICK_S: Final = 0.1
"""How long a record may wait in memory; `flush` and answers do not wait for it."""
MAX_PENDING_BYTES: Final = 64 << 20
_RECORD_BYTES: Final = 120
_NO_ENCODING: Final = (TypeError, ValueError, OverflowError, msgspec.MsgspecError)
"""Raised for a value that MessagePack cannot hold, as an integer of more than 64 bits in what a tool returns."""
_log = LimitedLog(structlog.get_logger("voice_gateway.recording"))
Redact = Callable[[Words], Words | None]
"""Returns the words as they may be kept, `None` for not at all. Called on the writer's thread."""


@dataclass(slots=True)
class WriterCounters:
    """What the writer did; read by metrics."""

    bytes_written: int = 0
    records_dropped: int = 0
    write_failures: int = 0
    redaction_failures: int = 0
    pending_bytes: int = 0
    flushes_late: int = 0


class SegmentWriter:
    """`open` a segment for each call; `close` writes what is left. Make one per worker.

    Without a thread (`is_threaded` false, for simulated time) what cannot wait is written at once, and all else by
    `Segment.flush` and `write_due`.
    """

    def __init__(
        self,
        *,
        redact: Redact = lambda words: words,
        is_threaded: bool = True,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        has_fsync: bool = False,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self.counters = WriterCounters()
        self.is_threaded = is_threaded
        self.has_fsync = has_fsync
        self.redact = redact
        self.write = write
        self._max_pending_bytes = max_pending_bytes
        self._changed = threading.Condition()
        self._due: dict[Segment, None] = {}
        self._is_urgent = self._is_closing = False
        self._thread: threading.Thread | None = None

    def open(self, folder: Path, stem: str, head: Head) -> Segment:
        """Return a new segment, whose files are made when they are first written."""
        return Segment(self, folder, stem, head)

    def take(self, segment: Segment, record: Record, size: int, *, is_urgent: bool) -> None:
        """Keep a record until it is written, or count it as dropped where too much waits."""
        with self._changed:
            if self.counters.pending_bytes + size > self._max_pending_bytes:
                segment.drop()
                self.counters.records_dropped += 1
                return
            self.counters.pending_bytes += size
            segment.pending.append(record)
            segment.pending_bytes += size
            self._make_due(segment, is_urgent)
        if is_urgent and not self.is_threaded:
            self.write_due()

    def ask(self, segment: Segment, request: Callable[[], None]) -> None:
        """Have `request` called, on the writer's thread, once all that `segment` has by now is written or given up."""
        with self._changed:
            segment.requests.append(request)
            self._make_due(segment, is_urgent=True)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is left and end the thread; blocks for `timeout_s` at most."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        else:
            self.write_due()

    def write_due(self) -> None:
        """Write all that waits, in the calling thread."""
        with self._changed:
            due, self._due, self._is_urgent = self._due, {}, False
        for segment in due:
            with self._changed:
                taken = segment.take_pending()
                self.counters.pending_bytes -= taken.size
            tasks: list[Callable[[], None]] = [partial(segment.write, taken.records), *taken.requests]
            for task in tasks:
                try:
                    task()
                except Exception as error:  # a defect in one call must neither end the thread nor keep others waiting
                    self.counters.write_failures += 1
                    _log.warning("recording_writer_failed", **loggable(error))

    def _make_due(self, segment: Segment, is_urgent: bool) -> None:
        is_first = not self._due
        self._due[segment] = None
        if is_first or (is_urgent and not self._is_urgent):
            self._is_urgent |= is_urgent
            self._changed.notify_all()
        if self.is_threaded and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._is_closing)
                self._changed.wait_for(lambda: self._is_urgent or self._is_closing, TICK_S)
                is_last = self._is_closing
            self.write_due()
            if is_last:
                return


@dataclass(frozen=True, slots=True)
class _Taken:
    """Records to be written, `size` bytes by the count of what waits, and what is to be called after that."""

    records: Sequence[Record]
    size: int
    requests: Sequence[Callable[[], None]]


@dataclass(slots=True, eq=False)
class Segment:
    """One worker's part of one call. `append` and `flush` are for the event loop, all else for the writer."""

    writer: SegmentWriter
    folder: Path
    stem: str
    head: Head
    pending: deque[Record] = field(default_factory=deque)
    pending_bytes: int = 0
    requests: list[Callable[[], None]] = field(default_factory=list)
    _files: dict[str, _File] = field(default_factory=dict)
    _dropped: int = 0
    _is_closed: bool = False

    def append(self, record: Record, size: int = 0, *, is_urgent: bool = False) -> None:
        """Have a record written soon; `size` is that of its payload. Never blocks and never raises."""
        if not self._is_closed:
            self.writer.take(self, record, size + _RECORD_BYTES, is_urgent=is_urgent)

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all that was appended is written, or given up; false where that takes longer than `timeout_s`."""
        if not self.writer.is_threaded:
            self.writer.write_due()
            return True
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def resolve() -> None:
            if not done.done():
                done.set_result(None)

        def request() -> None:
            with suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(resolve)

        self.writer.ask(self, request)
        try:
            await asyncio.wait_for(done, timeout_s)
        except TimeoutError:
            self.writer.counters.flushes_late += 1
            return False
        return True

    def when_written(self, then: Callable[[], None]) -> None:
        """Call `then`, on the writer's thread, once all that was appended is written, or given up."""
        self.writer.ask(self, then)

    def close(self, then: Callable[[], None] = lambda: None) -> None:
        """Write what is left and close the files; `then` is called after it, on the writer's thread."""
        self._is_closed = True

        def end() -> None:
            for file in self._files.values():
                file.close()
            then()

        self.writer.ask(self, end)

    def discard(self, then: Callable[[], None] = lambda: None) -> None:
        """Delete what this segment holds of sound and words, and call `then` on the writer's thread."""

        def delete() -> None:
            for suffix in (AUDIO_SUFFIX, WORDS_SUFFIX):
                file = self._files.pop(suffix, None)
                if file is not None:
                    file.close()
                    file.path.unlink(missing_ok=True)
            then()

        self.writer.ask(self, delete)

    def drop(self) -> None:
        """Count a record that is lost."""
        self._dropped += 1

    def take_pending(self) -> _Taken:
        """Take what waits to be written, with a `Hole` before it if records were dropped."""
        records = list(self.pending)
        if self._dropped:
            at_us = records[-1].at_us if records else 0
            records.insert(0, Hole(at_us, self._dropped, "queue_full"))
            self._dropped = 0
        taken = _Taken(records, self.pending_bytes, self.requests)
        self.pending.clear()
        self.pending_bytes, self.requests = 0, []
        return taken

    def write(self, records: Sequence[Record]) -> None:
        """Append the records to the files that they belong to."""
        events: list[Record] = []
        audio: list[Record] = []
        words: list[Record] = []
        for record in records:
            if isinstance(record, Uplink | Downlink):
                audio.append(record)
            elif not isinstance(record, Words):
                events.append(record)
            elif (kept := self._redacted(record)) is not None:
                words.append(kept)
        self._write_to(EVENTS_SUFFIX, events)
        self._write_to(AUDIO_SUFFIX, audio)
        self._write_to(WORDS_SUFFIX, words)

    def _redacted(self, words: Words) -> Words | None:
        try:
            return self.writer.redact(words)
        except Exception as error:  # the operator's own code
            self.writer.counters.redaction_failures += 1
            _log.warning("recording_redaction_failed", **loggable(error))
            return None

    def _write_to(self, suffix: str, records: list[Record]) -> None:
        if not records:
            return
        file = self._files.get(suffix)
        if file is None:
            file = self._files[suffix] = _File(self.folder / f"{self.stem}{suffix}", self.head)
        try:
            written = file.append(records, self.writer.write, has_fsync=self.writer.has_fsync)
        except (OSError, *_NO_ENCODING) as error:
            self.writer.counters.write_failures += 1
            self.writer.counters.records_dropped += len(records)
            reason = error.strerror if isinstance(error, OSError) else "a value has no encoding"
            _log.warning("recording_not_written", session=self.head.session_id, reason=reason)
        else:
            self.writer.counters.bytes_written += written


class _File:
    """One file that grows by whole blocks: what could be written of one in part is cut off again."""

    def __init__(self, path: Path, head: Head) -> None:
        self.path = path
        self._head = head
        self._fd: int | None = None
        self._size = 0
        self._lost = 0

    def append(self, records: Sequence[Record], write: Callable[[int, bytes], int], *, has_fsync: bool) -> int:
        """Append a block and return its size; raises `OSError` or `_NO_ENCODING` with the records counted as lost."""
        try:
            block = encode_block(self._framed(records))
            if self._fd is None:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            rest = memoryview(block)
            while rest:
                rest = rest[write(self._fd, bytes(rest)) :]
            if has_fsync:
                os.fsync(self._fd)
        except (OSError, *_NO_ENCODING):
            self._lost += len(records)
            if self._fd is not None:
                with suppress(OSError):
                    os.ftruncate(self._fd, self._size)
            raise
        self._size += len(block)
        self._lost = 0
        return len(block)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _framed(self, records: Sequence[Record]) -> list[Record]:
        front: list[Record] = [self._head] if self._size == 0 else []
        if self._lost:
            front.append(Hole(records[0].at_us, self._lost, "write_failed"))
        return [*front, *records]

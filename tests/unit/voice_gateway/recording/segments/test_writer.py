"""The writer's thread: what waits is bounded, what the disk refuses is a hole, and the event loop waits for neither."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from voice_gateway.recording.segments.format import EVENTS_SUFFIX, Event, Head, Hole, Record, Uplink, Words, parse
from voice_gateway.recording.segments.writer import Segment, SegmentWriter
from voicelink.wire import Codec

HEAD = Head(0, "call", "w", 1, 1_790_000_000_000_000)


def _records(folder: Path, suffix: str) -> list[Record]:
    return [record for path in sorted(folder.glob(f"*{suffix}")) for record in parse(path.read_bytes()).records]


def _modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.iterdir()}


@pytest.fixture
def writer() -> Iterator[SegmentWriter]:
    made = SegmentWriter()
    yield made
    made.close()


def _open(writer: SegmentWriter, folder: Path) -> Segment:
    return writer.open(folder, "1790000000000-000001-w", HEAD)


async def test_what_was_appended_is_in_the_files_once_flushed(tmp_path: Path, writer: SegmentWriter) -> None:
    segment = _open(writer, tmp_path)
    segment.append(Event(1, "began"))
    segment.append(Uplink(2, 0, 0, Codec.PCM16_16K, b"ab"), 2)
    segment.append(Words(3, "transcript", {"text": "hi"}))
    assert await segment.flush(5.0)
    assert _records(tmp_path, ".events") == [HEAD, Event(1, "began")]
    assert _records(tmp_path, ".audio") == [HEAD, Uplink(2, 0, 0, Codec.PCM16_16K, b"ab")]
    assert _records(tmp_path, ".words")[1:] == [Words(3, "transcript", {"text": "hi"})]
    assert _modes(tmp_path) == {0o600}


async def test_a_full_disk_leaves_a_hole_and_no_half_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voice_gateway.recording.segments.writer.TICK_S", 60.0)  # both records are in one block
    is_full = True

    def write(fd: int, data: bytes) -> int:
        if is_full and len(data) > 20:
            return os.write(fd, data[:20])
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(fd, data)

    writer = SegmentWriter(write=lambda fd, data: write(fd, data[: max(1, len(data) // 2)]))
    segment = _open(writer, tmp_path)
    segment.append(Event(1, "lost"))
    segment.append(Event(2, "lost"))
    assert await segment.flush(5.0), "a disk that refuses is no reason to wait"
    is_full = False
    segment.append(Event(3, "kept"))
    assert await segment.flush(5.0)
    writer.close()
    assert _records(tmp_path, EVENTS_SUFFIX) == [HEAD, Hole(3, 2, "write_failed"), Event(3, "kept")]
    assert (writer.counters.write_failures, writer.counters.records_dropped) == (1, 2)


async def test_a_slow_disk_holds_up_a_flush_for_its_time_alone(tmp_path: Path) -> None:
    is_free = threading.Event()

    def write(fd: int, data: bytes) -> int:
        is_free.wait(10)
        return os.write(fd, data)

    writer = SegmentWriter(write=write, max_pending_bytes=4_000)
    segment = _open(writer, tmp_path)
    segment.append(Event(1, "first"), is_urgent=True)
    assert not await segment.flush(0.01)
    for number in range(100):
        segment.append(Event(number, "many"))
    assert writer.counters.records_dropped > 50
    is_free.set()
    assert await segment.flush(5.0)
    writer.close()
    holes = [record for record in _records(tmp_path, EVENTS_SUFFIX) if isinstance(record, Hole)]
    assert [hole.cause for hole in holes] == ["queue_full"]
    assert sum(hole.records for hole in holes) == writer.counters.records_dropped
    assert writer.counters.pending_bytes == 0


async def test_words_that_cannot_be_redacted_are_left_out(tmp_path: Path) -> None:
    def redact(words: Words) -> Words | None:
        if words.facts["text"] == "secret":
            raise ValueError("no")
        return words

    writer = SegmentWriter(redact=redact)
    segment = _open(writer, tmp_path)
    segment.append(Words(1, "transcript", {"text": "secret"}))
    segment.append(Words(2, "transcript", {"text": "fine"}))
    assert await segment.flush(5.0)
    writer.close()
    assert _records(tmp_path, ".words")[1:] == [Words(2, "transcript", {"text": "fine"})]
    assert writer.counters.redaction_failures == 1


async def test_words_that_have_no_encoding_leave_a_hole_and_hold_up_nothing(
    tmp_path: Path, writer: SegmentWriter
) -> None:
    segment, closed = _open(writer, tmp_path), threading.Event()
    segment.append(Words(1, "tool_result", {"result": 1 << 70}))
    assert await segment.flush(5.0)
    segment.append(Words(2, "transcript", {"text": "fine"}))
    segment.close(closed.set)
    await asyncio.to_thread(closed.wait, 5)
    assert _records(tmp_path, ".words")[1:] == [Hole(2, 1, "write_failed"), Words(2, "transcript", {"text": "fine"})]
    assert writer.counters.records_dropped == 1


async def test_a_request_that_fails_holds_up_no_other(tmp_path: Path, writer: SegmentWriter) -> None:
    segment = _open(writer, tmp_path)
    segment.when_written(lambda: (_ for _ in ()).throw(LookupError()))
    assert await segment.flush(5.0)


async def test_a_segment_that_is_closed_tells_and_takes_no_more(tmp_path: Path, writer: SegmentWriter) -> None:
    segment, closed = _open(writer, tmp_path), threading.Event()
    segment.append(Event(1, "ended"))
    segment.close(closed.set)
    segment.append(Event(2, "late"))
    await asyncio.to_thread(closed.wait, 5)
    assert _records(tmp_path, EVENTS_SUFFIX) == [HEAD, Event(1, "ended")]


_PROGRAM = """
import asyncio, sys
from pathlib import Path
from voice_gateway.recording.segments.format import Head, Uplink
from voice_gateway.recording.segments.writer import SegmentWriter
from voicelink.wire import Codec

async def main():
    segment = SegmentWriter().open(Path(sys.argv[1]), "1790000000000-000001-w", Head(0, "call", "w", 1, 1))
    for number in range(1_000_000):
        segment.append(Uplink(number, number, 0, Codec.PCM16_16K, b"ab"), 2)
        if number % 50 == 49:
            await segment.flush(5.0)
            print(number, flush=True)

asyncio.run(main())
"""


def test_what_was_flushed_outlives_a_killed_process(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    flushed = [int(process.stdout.readline()) for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    acked = int(rest[-1]) if rest else flushed[-1]
    found = [record.sequence for record in _records(tmp_path, ".audio") if isinstance(record, Uplink)]
    assert found[: acked + 1] == list(range(acked + 1))

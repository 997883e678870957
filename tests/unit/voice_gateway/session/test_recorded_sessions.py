"""What a session gives to its recording, and when: before it saves, and only with consent."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeTransport, run_ready
from voice_gateway.agent.base import FinalTranscript, RecordingConsent, Reply, ReplyAudio, ReplyEnded
from voice_gateway.recording.library.archive import FolderArchive
from voice_gateway.recording.library.library import Library
from voice_gateway.recording.reading.document import call_document
from voice_gateway.recording.segments.format import Uplink, parse
from voice_gateway.recording.segments.recorder import RecordedCall, RecordingPolicy, Recordings
from voice_gateway.recording.segments.writer import Segment, SegmentWriter
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.store.base import SessionRecord
from voice_gateway.store.implementations.memory import MemoryStore
from voicelink.wire import AudioFrame, Bye, Codec, Played, Start

WALL_S = 1_790_000_000.0
KEEPS_ALL = RecordingPolicy(has_audio=True, has_words=True, has_addresses=False, is_consent_asked=False)


class WatchingStore(MemoryStore):
    """Notes how many frames were in the segment when each record came to be saved."""

    def __init__(self, folder: Path) -> None:
        super().__init__(clock=lambda: 0.0)
        self.folder = folder
        self.seen: list[tuple[int | None, int]] = []

    async def save(self, record: SessionRecord) -> None:
        self.seen.append((record.acked_sequence, len(frames(self.folder))))
        await super().save(record)


def frames(folder: Path) -> list[Uplink]:
    files = folder.glob("*/*.audio")
    return [record for path in files for record in parse(path.read_bytes()).records if isinstance(record, Uplink)]


def suffixes(folder: Path) -> set[str]:
    return {path.suffix for path in folder.glob("*/*")}


class Bench:
    def __init__(self, folder: Path, policy: RecordingPolicy | None = KEEPS_ALL) -> None:
        self.writer = SegmentWriter(is_threaded=False)
        self.agent = FakeAgent()
        self.store = WatchingStore(folder)
        self.folder = folder
        recordings = None if policy is None else Recordings("worker-1", folder, policy, self.writer, lambda: WALL_S)
        self.manager = SessionManager("worker-1", self.agent, self.store, new_id=lambda: "s-1", recordings=recordings)
        self.transport = FakeTransport()
        live = self.manager.accept(REQUEST, self.transport)
        assert isinstance(live, ClientConnection)
        self.live = live
        live.message_received(Start(accept=(Codec.PCM16_24K,)))

    def hear(self, count: int, first: int = 0) -> None:
        for sequence in range(first, first + count):
            self.live.audio_received(AudioFrame(sequence, sequence * 960, Codec.PCM16_16K, bytes([1, 0]) * 320))

    def emit(self, *events: Any) -> None:
        for event in events:
            self.agent.conversations[-1].emit(event)

    async def end(self, frames: int) -> dict[str, Any]:
        self.live.message_received(Bye(frames=frames))
        await run_ready()
        await self.manager.close()
        self.writer.close()
        return call_document(Library(FolderArchive(self.folder)).timeline("s-1"))


async def test_a_record_is_saved_when_its_frames_are_in_the_segment(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.hear(10)
    bench.emit(FinalTranscript("a latte", 9))
    await run_ready()
    assert (9, 10) in bench.store.seen
    assert all(acked is None or written > acked for acked, written in bench.store.seen)
    await bench.end(10)


async def test_a_call_is_recorded_with_words_playback_and_its_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.hear(10)
    bench.emit(FinalTranscript("a latte", 9), Reply("sure"), ReplyAudio(bytes([1, 0]) * 24_000), ReplyEnded())
    await run_ready()
    for position_ms in (200, 400, 600, 800, 1_000):
        bench.live.message_received(Played(utterance_id=1, position_ms=position_ms, is_complete=position_ms == 1_000))
    document = await bench.end(10)
    (turn,) = [turn for turn in document["turns"] if turn["turn"] == 1]
    assert [(line["role"], line["text"]) for line in turn["lines"]] == [("user", "a latte"), ("agent", "sure")]
    assert sum(answer["end_s"] - answer["start_s"] for answer in document["answers"]) == pytest.approx(1.0)
    assert document["code"] == "normal"
    assert REQUEST.peer not in str(document)


async def test_by_default_a_recording_holds_neither_sound_nor_words(tmp_path: Path) -> None:
    bench = Bench(tmp_path, RecordingPolicy())
    bench.hear(10)
    bench.emit(FinalTranscript("a latte", 9))
    document = await bench.end(10)
    assert suffixes(tmp_path) == {".events"}
    assert "latte" not in str(document)
    assert document["clock"] == "worker"
    assert [turn["turn"] for turn in document["turns"]] == [1]


async def test_where_consent_is_asked_for_nothing_is_kept_before_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, RecordingPolicy(has_audio=True, has_words=True, is_consent_asked=True))
    bench.hear(5)
    bench.emit(FinalTranscript("before", 4), RecordingConsent(True))
    bench.hear(5, first=5)
    bench.emit(FinalTranscript("after", 9))
    await run_ready()
    saved = await bench.store.load("s-1")
    assert saved is not None
    assert saved.recording_consent is True
    document = await bench.end(10)
    assert [record.sequence for record in frames(tmp_path)] == [5, 6, 7, 8, 9]
    assert "before" not in str(document["words"])
    assert "after" in str(document["words"])


async def test_consent_that_is_withdrawn_deletes_what_was_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.hear(5)
    bench.emit(FinalTranscript("before", 4))
    await run_ready()
    assert frames(tmp_path)
    bench.emit(RecordingConsent(False))
    bench.hear(5, first=5)
    document = await bench.end(10)
    assert frames(tmp_path) == []
    assert document["words"] == []
    assert [event["is_given"] for event in document["events"] if event["kind"] == "consent"] == [False]


@pytest.mark.parametrize(("consent", "withdrawn"), [(False, ["s-1"]), (True, []), (None, [])])
def test_a_worker_that_takes_over_deletes_what_was_kept_without_consent(
    tmp_path: Path, consent: bool | None, withdrawn: list[str]
) -> None:
    writer, asked = SegmentWriter(is_threaded=False), list[str]()
    recordings = Recordings("worker-2", tmp_path, KEEPS_ALL, writer, lambda: 0.0, on_withdrawn=asked.append)
    recordings.begin(RecordedCall("s-1", 2, "agent", None, "webtransport", "", consent, is_taken_over=True), 0.0)
    writer.close()
    assert asked == withdrawn


async def test_a_disk_that_is_stuck_delays_one_save_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = 0

    async def flush(segment: Segment, timeout_s: float) -> bool:
        nonlocal waits
        waits += 1
        return False

    monkeypatch.setattr(Segment, "flush", flush)
    monkeypatch.setattr(Segment, "when_written", lambda segment, then: None)
    bench = Bench(tmp_path, RecordingPolicy(has_audio=True, is_consent_asked=False))
    for sequence in range(5):
        bench.hear(1, first=sequence)
        bench.emit(FinalTranscript("again", sequence))
        await run_ready()
    assert waits == 1
    assert bench.store.seen[-1][0] == 4
    await bench.manager.close()


@pytest.mark.parametrize(("policy", "per_frame"), [(None, 0), (KEEPS_ALL, 1)])
async def test_frames_cost_a_session_that_is_not_recorded_no_call_of_recordings(
    tmp_path: Path, policy: RecordingPolicy | None, per_frame: int
) -> None:
    bench = Bench(tmp_path, policy)
    bench.emit(Reply("sure"))
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        module = frame.f_globals["__name__"]
        is_recording = "voice_gateway.recording" in module or module.endswith(("session_recording", "stats.events"))
        if event == "call" and is_recording:
            calls[frame.f_code.co_name] += 1

    sys.setprofile(count)
    try:
        bench.hear(10)
        bench.emit(ReplyAudio(bytes([1, 0]) * 24_000))
    finally:
        sys.setprofile(None)
    assert calls["uplink"] == 10 * per_frame
    assert calls["downlink"] == per_frame
    assert bool(calls) is (policy is not None), calls
    await bench.manager.close()

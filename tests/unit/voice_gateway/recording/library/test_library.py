"""Recorded calls in a folder and in object storage: listed, moved, deleted by call, subject and age."""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from voice_gateway.errors import ConfigurationError
from voice_gateway.recording.library.archive import (
    Archive,
    ArchiveError,
    FolderArchive,
    FsspecArchive,
    JoinedArchive,
    move_to_storage,
)
from voice_gateway.recording.library.library import Library, Retention, UnknownCall
from voice_gateway.recording.library.redaction import load_redaction, redaction
from voice_gateway.recording.library.upkeep import Upkeep
from voice_gateway.recording.reading.assembly import INCIDENTS
from voice_gateway.recording.reading.document import call_document
from voice_gateway.recording.segments.format import (
    FORMAT_VERSION,
    Event,
    Head,
    NewerRecording,
    Uplink,
    Words,
    encode_block,
    segment_stem,
)
from voicelink.wire import Codec

NOW = 1_790_000_000.0


def write_call(
    archive: Archive, call: str, began: float, *, subject: str | None = None, epoch: int = 1, text: str = "hi"
) -> str:
    stem = segment_stem(round(began * 1e6), epoch, f"w{epoch}")
    head = Head(0, call, f"w{epoch}", epoch, round(began * 1e6), "order", subject, "webtransport")
    events = [
        Event(1, "transcript", {"turn": 1, "role": "user"}),
        Event(2, "migrated"),
        Event(3_000_000, "ended", {"code": "normal"}),
    ]
    archive.write(call, f"{stem}.events", encode_block([head, *events]))
    archive.write(call, f"{stem}.audio", encode_block([head, Uplink(1, 0, 0, Codec.PCM16_16K, b"ab")]))
    words = Words(1, "transcript", {"turn": 1, "role": "user", "text": text})
    archive.write(call, f"{stem}.words", encode_block([head, words]))
    return stem


@pytest.fixture(params=["folder", "storage", "joined"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    if request.param == "folder":
        return FolderArchive(tmp_path / "calls")
    pytest.importorskip("fsspec")
    storage = FsspecArchive(f"memory://{uuid.uuid4().hex}/calls")
    return storage if request.param == "storage" else JoinedArchive(FolderArchive(tmp_path / "calls"), storage)


def test_calls_are_listed_newest_first_with_what_became_of_them(archive: Archive) -> None:
    write_call(archive, "one", NOW - 10, subject="ann")
    write_call(archive, "two", NOW - 5, subject="bob")
    library = Library(archive)
    assert [each.session_id for each in library.summaries()] == ["two", "one"]
    (summary,) = library.summaries(subject="ann")
    assert (summary.turns, summary.incidents, summary.code, summary.workers) == (1, 1, "normal", ("w1",))
    assert summary.last_s - summary.began_s == pytest.approx(3.0)
    assert [each.session_id for each in library.summaries(most=1)] == ["two"]


def test_the_list_counts_the_incidents_that_the_call_shows(archive: Archive) -> None:
    head = Head(0, "one", "w1", 1, round(NOW * 1e6))
    events = [Event(at_us, kind) for at_us, kind in enumerate((*sorted(INCIDENTS), "bye"))]
    archive.write("one", f"{segment_stem(head.wall_us, 1, 'w1')}.events", encode_block([head, *events]))
    library = Library(archive)
    (summary,) = library.summaries()
    assert summary.incidents == len(call_document(library.timeline("one"))["incidents"]) == len(INCIDENTS)


def test_an_archive_without_calls_is_empty(archive: Archive) -> None:
    library = Library(archive)
    assert library.summaries() == []
    with pytest.raises(UnknownCall):
        library.timeline("none")
    library.delete("none")


def test_an_archive_that_refuses_says_so_by_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = FolderArchive(tmp_path / "file")
    orders = (folder.calls, lambda: folder.read("one", "x"), lambda: folder.write("one", "x", b""))
    for order in (*orders, lambda: folder.delete("one")):
        with pytest.raises(ArchiveError, match="Not a directory"):
            order()
    with pytest.raises(ArchiveError):
        FolderArchive(tmp_path).write("no/such/..", "no/such", b"")
    assert FolderArchive(tmp_path).names("file") == []


def test_a_subjects_calls_are_deleted_whole_and_no_others(archive: Archive) -> None:
    write_call(archive, "one", NOW, subject="ann")
    write_call(archive, "two", NOW, subject="ann")
    write_call(archive, "three", NOW, subject="bob")
    assert sorted(Library(archive).delete_subject("ann")) == ["one", "two"]
    assert archive.calls() == ["three"]


def test_withdrawn_consent_leaves_no_sound_and_no_words(archive: Archive) -> None:
    write_call(archive, "one", NOW)
    Library(archive).withdraw("one")
    assert [name.rpartition(".")[2] for name in archive.names("one")] == ["events"]


def test_sound_and_calls_are_deleted_when_they_are_old_enough(archive: Archive) -> None:
    for call, days in (("new", 1), ("middle", 10), ("old", 40)):
        write_call(archive, call, NOW - days * 86_400)
    Library(archive).sweep(NOW, Retention.of_days(30, 7))
    assert archive.calls() == ["middle", "new"]
    assert not any(name.endswith(".audio") for name in archive.names("middle"))
    assert any(name.endswith(".audio") for name in archive.names("new"))


def test_a_call_is_found_by_how_its_id_begins(archive: Archive) -> None:
    write_call(archive, "abc1", NOW)
    write_call(archive, "abd2", NOW)
    library = Library(archive)
    assert library.full_id("abc") == "abc1"
    for beginning in ("ab", "x", ""):
        with pytest.raises(UnknownCall):
            library.full_id(beginning)


def test_a_complete_segment_moves_to_the_storage_and_is_read_from_there(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    folder, storage = FolderArchive(tmp_path), FsspecArchive(f"memory://{uuid.uuid4().hex}")
    stem = write_call(folder, "one", NOW)
    other = write_call(folder, "one", NOW + 9, epoch=2)
    move_to_storage(folder, storage, "one", stem)
    assert {name.rpartition(".")[0] for name in folder.names("one")} == {other}
    assert {name.rpartition(".")[0] for name in storage.names("one")} == {stem}
    assert Library(JoinedArchive(folder, storage)).summaries()[0].workers == ("w1", "w2")


def test_a_sweep_moves_what_a_dead_worker_left(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    folder, storage = FolderArchive(tmp_path), FsspecArchive(f"memory://{uuid.uuid4().hex}")
    write_call(folder, "one", NOW)
    upkeep = Upkeep(folder, storage, JoinedArchive(folder, storage), Retention.of_days(1, None), lambda: NOW)
    upkeep.sweep()
    assert storage.calls() == []
    for path in tmp_path.glob("one/*"):
        os.utime(path, (0, 0))
    upkeep.sweep()
    assert folder.calls() == []
    assert storage.calls() == ["one"]


def test_withdrawn_consent_is_carried_out_once_the_storage_is_back(tmp_path: Path) -> None:
    class Storage(FolderArchive):
        is_down = True

        def delete(self, call: str, names: Sequence[str] | None = None) -> None:
            if self.is_down:
                raise ArchiveError("unreachable")
            super().delete(call, names)

    storage = Storage(tmp_path / "storage")
    write_call(storage, "one", NOW)
    folder = FolderArchive(tmp_path / "calls")
    upkeep = Upkeep(folder, storage, JoinedArchive(folder, storage), Retention.of_days(1, None), lambda: NOW)
    upkeep.withdrawn("one")
    with pytest.raises(ArchiveError):
        upkeep.sweep()
    assert len(storage.names("one")) == 3
    storage.is_down = False
    # the worker has ended by then: another one with the same folder carries it out, once
    other = Upkeep(folder, storage, JoinedArchive(folder, storage), Retention.of_days(1, None), lambda: NOW)
    other.sweep()
    assert [name.rpartition(".")[2] for name in storage.names("one")] == ["events"]
    write_call(storage, "one", NOW)
    other.sweep()
    assert len(storage.names("one")) == 3
    assert folder.calls() == []


def test_call_in_a_newer_format_is_refused_by_its_version_and_the_others_are_listed(tmp_path: Path) -> None:
    archive = FolderArchive(tmp_path)
    write_call(archive, "one", NOW)
    head = Head(0, "two", "w1", 1, round(NOW * 1e6), version=FORMAT_VERSION + 1)
    unknown = msgspec.msgpack.encode(["a kind of record that is not known here", 1])
    body = msgspec.msgpack.encode([msgspec.Raw(msgspec.msgpack.encode(head)), msgspec.Raw(unknown)])
    stem = segment_stem(round(NOW * 1e6), 1, "w1")
    archive.write("two", f"{stem}.events", struct.pack(">II", len(body), zlib.crc32(body)) + body)
    library = Library(archive)
    with pytest.raises(NewerRecording, match=f"format {FORMAT_VERSION + 1}, .* reads format {FORMAT_VERSION}"):
        library.timeline("two")
    assert [each.session_id for each in library.summaries()] == ["one"]


def test_a_segment_that_another_worker_moves_ends_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, storage = FolderArchive(tmp_path / "calls"), FolderArchive(tmp_path / "storage")
    write_call(folder, "one", NOW)
    upkeep = Upkeep(folder, storage, JoinedArchive(folder, storage), Retention.of_days(1, None), lambda: NOW)
    monkeypatch.setattr(Path, "glob", lambda path, pattern: iter([path / "gone"]))
    upkeep.sweep()
    assert storage.calls() == []


def test_storage_that_needs_what_is_not_installed_says_so() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ConfigurationError, match=r"recording\.storage cannot be opened"):
        FsspecArchive("nothing-knows-this://bucket")


def test_redaction_takes_every_text_but_names() -> None:
    redact = redaction(lambda text, kind: None if text == "drop" else text.replace("4111", "****"))
    facts = {"turn": 1, "call_id": "4111", "name": "pay", "arguments": {"card": "4111", "list": ["4111", 5]}}
    kept = redact(Words(1, "tool_call", facts))
    assert kept is not None
    assert kept.facts == facts | {"arguments": {"card": "****", "list": ["****", 5]}}
    assert redact(Words(1, "transcript", {"turn": 1, "role": "user", "text": "drop"})) is None


@pytest.mark.parametrize("name", ["nothing", "no.such.module:function", "json:nothing", "a b:c"])
def test_a_redaction_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"recording\.redact"):
        load_redaction(name)

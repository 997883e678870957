"""Recorded calls in the admin interface: with the token alone, read in a process of their own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.voice_gateway.ops.admin.harness import TOKEN, AdminBench
from tests.unit.voice_gateway.recording.library.test_library import NOW, write_call
from voice_gateway.ops.admin.access import AdminToken
from voice_gateway.ops.admin.operations import RequestRefused
from voice_gateway.recording.library.archive import FolderArchive
from voice_gateway.recording.library.library import UnknownCall
from voice_gateway.recording.library.reader_process import CallForm, CallReader, main
from voice_gateway.web.server import WebRequest, WebResponse

PATHS = (
    "/calls",
    "/calls/abc1",
    "/calls-page/calls.js",
    "/recordings",
    "/recordings/abc1",
    "/recordings/abc1/audio.ogg",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_call(FolderArchive(tmp_path), "abc1", NOW)
    return tmp_path


async def test_no_path_of_recordings_is_open(folder: Path) -> None:
    bench = AdminBench(recordings=folder)
    assert {each.path for each in bench.operations if each.is_open} & {"/calls", "/recordings"} == set()
    await bench.start()
    for path in PATHS:
        status, answer = await bench.ask("GET", path, authorization=None)
        assert (status, set(answer)) == (401, {"error"})
    await bench.server.stop()


async def test_calls_are_read_in_a_process_and_unknown_ones_are_404(folder: Path) -> None:
    bench = AdminBench(recordings=folder)
    await bench.start()
    status, listed = await bench.ask("GET", "/recordings?most=5")
    assert (status, [each["session"] for each in listed["calls"]]) == (200, ["abc1"])
    status, call = await bench.ask("GET", "/recordings/abc1")
    assert (status, call["session"], set(call["peaks"])) == (200, "abc1", {"per_s", "caller", "agent"})
    assert (await bench.ask("GET", "/recordings/nope"))[0] == 404
    for most in ("0", "1001", "-1", "9" * 5_000, "%D9%A3", "x"):
        assert (await bench.ask("GET", f"/recordings?most={most}"))[0] == 400
    await bench.server.stop()


@pytest.mark.parametrize("session", ["", "..", "../abc1", "abc1/.", "abc1\0", "-abc1"])
async def test_what_is_no_session_id_is_unknown_without_a_process(
    folder: Path, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio, "create_subprocess_exec", None)
    with pytest.raises(UnknownCall):
        await CallReader(folder, None).read(session, CallForm.JSON)


async def test_a_call_is_read_piece_by_piece_and_its_process_waits_for_the_reader(folder: Path) -> None:
    content = await CallReader(folder, None).read("abc1", CallForm.WAV)
    pieces = [piece async for piece in content.pieces]
    wav = b"".join(pieces)
    assert content.length == len(wav) > 44
    assert wav.startswith(b"RIFF")
    assert max(map(len, pieces)) <= 1 << 16
    half_read = await CallReader(folder, None).read("abc1", CallForm.WAV)
    await half_read.pieces.aclose()


async def test_places_are_free_again_after_a_reader_that_left(folder: Path) -> None:
    reader = CallReader(folder, None)
    for _ in range(3):
        await (await reader.read("abc1", CallForm.JSON)).pieces.aclose()
    with pytest.raises(UnknownCall, match="no recording of the call 'nope'"):
        await reader.read("nope", CallForm.JSON)


async def test_a_worker_that_records_nothing_says_so() -> None:
    with pytest.raises(UnknownCall, match=r"recording\.folder"):
        await CallReader(None, None).read("abc1", CallForm.JSON)


def test_the_page_lets_nothing_in_from_elsewhere() -> None:
    operations = {each.path: each for each in AdminBench().operations}
    answer = operations["/calls/{call}"].handle(WebRequest("GET", "/calls/abc1", {}, ""))
    assert isinstance(answer, WebResponse)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    asset = operations["/calls-page/{file}"]
    with pytest.raises(RequestRefused):
        asset.handle(WebRequest("GET", "/", {}, "", parameters={"file": "../../secret"}))


def test_the_process_says_by_its_status_what_is_wrong(folder: Path) -> None:
    assert main([str(folder), "", "nope", "json"]) == 3
    assert main([str(folder / "abc1" / "nothing"), "", "1", "list"]) == 0


def test_browsers_are_asked_for_a_password_first() -> None:
    """Chromium looks at the first challenge alone, and knows no Bearer."""
    refusal = AdminToken(TOKEN).refusal(WebRequest("GET", "/calls", {}, ""))
    assert refusal is not None
    assert refusal.headers["WWW-Authenticate"].startswith("Basic ")

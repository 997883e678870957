"""webtransport-go, which speaks draft-16, places an order: tests/interop/go is a caller written from PROTOCOL.md."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.programs import missing
from tests.interop.worker import ORDER, WorkerTestbed, first_item, recording, working
from voicelink.h3 import http3
from voicelink.h3.session.dialect import ENABLE_WEBTRANSPORT

SOURCE = Path(__file__).parent / "go"
FRAMES = 333
"""20 ms each of the recording."""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built."""
    if shutil.which("go") is None:
        missing("there is no Go on this machine: version 1.26 or later is needed")
    program = tmp_path_factory.mktemp("go") / "caller"
    fetched = subprocess.run(["go", "mod", "download"], cwd=SOURCE, capture_output=True, text=True, check=False)
    if fetched.returncode:
        missing(f"the modules of tests/interop/go cannot be had: {fetched.stderr}")
    command = ["go", "build", "-mod=readonly", "-o", str(program), "."]
    built = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False, timeout=200)
    assert built.returncode == 0, built.stderr
    return program


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def testbed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerTestbed]:
    async with working(tmp_path_factory.mktemp("worker")) as testbed:
        yield testbed


async def call(program: Path, testbed: WorkerTestbed, *more: str) -> tuple[int, str, str]:
    pcm = recording(testbed.folder / "recording.pcm")
    arguments = ("-url", testbed.url, "-ca", str(testbed.ca_file), "-recording", str(pcm), *more)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(str(program), *arguments, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def report(program: Path, testbed: WorkerTestbed, *more: str) -> dict[str, Any]:
    code, output, errors = await call(program, testbed, *more)
    assert code == 0, errors
    return dict(json.loads(output))


def check(did: dict[str, Any]) -> None:
    assert first_item(did["state"]) == ORDER
    assert (did["sent"], did["bye_frames"], did["closed"]) == (FRAMES, FRAMES, 0)
    assert did["answers"] >= 1
    assert did["spoken_bytes"] > 32_000


async def test_an_order_is_placed(caller: Path, testbed: WorkerTestbed) -> None:
    did = await report(caller, testbed)
    check(did)
    assert did["ready"] == 1


async def test_a_session_left_with_taken_over_is_resumed_within_the_clients_flow_control(
    caller: Path, testbed: WorkerTestbed
) -> None:
    """The library closes with STOP_SENDING first and the capsule behind it in the same packet."""
    did = await report(caller, testbed, "-move", "-window", "20000")
    check(did)
    assert did["ready"] == 2


async def test_a_server_of_draft_02_alone_is_refused(
    caller: Path, testbed: WorkerTestbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control."""
    monkeypatch.setattr(http3, "SERVER_SETTINGS", {ENABLE_WEBTRANSPORT: 1})
    code, _, errors = await call(caller, testbed)
    assert (code, errors.strip()) == (1, "server didn't enable WebTransport")

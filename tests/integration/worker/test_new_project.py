"""`voice-gateway init` makes a project that runs: its test, its worker, a call."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.support.worker_process import PROGRAM, caller, run, started
from tests.unit.recordings import recording


@pytest.fixture
async def project(tmp_path: Path) -> Path:
    status, shown, errors = await run("init", str(tmp_path / "tea-shop"))
    assert status == 0, errors
    assert "tea_shop.py" in shown
    return tmp_path / "tea-shop"


async def test_its_test_passes(project: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(project), str(project)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, cwd=project, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


async def test_its_worker_takes_a_call(project: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("serve", "--json", "--config", "worker.toml", "--listen", "127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": "."},
        cwd=project,
    )
    try:
        async with caller(await started(process), project / "worker.toml") as call:
            await call.listen(grace_s=60)
            call.send_pcm(recording("slt_total") + bytes(64_000))
            await call.finish()
        greeting, ordered, answer = [line.text.strip() for line in call.transcript]
        assert greeting == "Hi, what can I get you?"
        assert answer == f"I have {ordered}. Anything else?"
        assert call.state == {"items": [ordered]}
    finally:
        process.terminate()
        await process.communicate()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tea-shop", "exists already: give a new folder, or remove it"),
        (
            "Shop",
            "NAME must be lower-case letters, digits, - and _, a letter first, and no word of Python's, got 'Shop'",
        ),
        ("class", "no word of Python's, got 'class'"),
        ("json", "NAME must not be that of a module that the project uses, got 'json'"),
        ("worker.toml/shop", "cannot be made: Not a directory"),
    ],
)
async def test_what_is_wrong_is_one_sentence(project: Path, name: str, sentence: str) -> None:
    (project.parent / "worker.toml").write_text("")
    status, shown, errors = await run("init", str(project.parent / name))
    assert (status, shown) == (1, "")
    assert errors.startswith("voice-gateway: ")
    assert errors.count("\n") == 1
    assert sentence in errors

"""A third party's agent: a package outside the tree, installed, chosen by the settings, tested and called."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.support.worker_process import PROGRAM, SETTINGS, caller, run, started

SOURCE = Path(__file__).parent / "toy_agent"
SPEECH = b"\x00\x20\x00\xe0" * 8_000 + bytes(64_000)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the package out of the tree, and return the folder where pip has put it."""
    outside = tmp_path_factory.mktemp("outside")
    shutil.copytree(SOURCE, outside / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*command, "--disable-pip-version-check", "--target", str(outside / "site"), str(outside / "source")],
        check=True,
    )
    return outside / "site"


@asynccontextmanager
async def serving(
    tmp_path: Path, installed: Path, agent: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    status, _, errors = await run("certificate", "--out", str(tmp_path / "certs"))
    assert status == 0, errors
    config = tmp_path / "worker.toml"
    config.write_text(SETTINGS.replace('name = "echo"', agent))
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("serve", "--json", "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(installed)},
    )
    try:
        yield process, config
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def test_it_passes_the_contract_suite_that_is_shipped(installed: Path, tmp_path: Path) -> None:
    shutil.copy(SOURCE / "contract_suite.py", tmp_path / "test_contract.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "36 passed" in done.stdout


async def test_it_answers_a_call(installed: Path, tmp_path: Path) -> None:
    agent = 'name = "toy"\n[agent.settings]\ngreeting = "Beep, caller."\npitch_hz = 600'
    async with serving(tmp_path, installed, agent) as (process, config):
        async with caller(await started(process), config) as call:
            call.send_pcm(SPEECH)
            await call.finish()
        lines = [(line.role, line.text) for line in call.transcript]
        assert lines[0] == ("agent", "Beep, caller.")
        assert lines[-1][0] == "agent"
        assert lines[-1][1].strip() == "beep"
        assert call.state == {"kind": "toy", "count": 1}


async def test_a_class_needs_no_entry_point(installed: Path, tmp_path: Path) -> None:
    async with serving(tmp_path, installed, 'name = "toy_agent.agent:EchoOfKeys"') as (process, config):
        async with caller(await started(process), config) as call:
            call.send_pcm(SPEECH)
            await call.finish()
        assert call.transcript == ()


async def test_its_settings_are_checked_by_its_own_model(installed: Path, tmp_path: Path) -> None:
    async with serving(tmp_path, installed, 'name = "toy"\nsettings.pitch_hz = 5') as (process, _):
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert errors.decode() == "voice-gateway: agent.settings.pitch_hz: must be at least 100\n"

"""A worker as an operator runs it: a process, its signals, its exit status and what it prints."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.support.worker_process import PROGRAM, WorkerProcess, caller, config, run, started

__all__ = ["config"]


@pytest.fixture
async def process(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("serve", "--json", "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    yield process
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def test_sigterm_lets_the_call_end_and_exits_with_0(process: asyncio.subprocess.Process, config: Path) -> None:
    facts = await started(process)
    async with caller(facts, config) as call:
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        assert process.returncode is None
        await call.finish()
        assert call.is_finished
    out, errors = await process.communicate()
    assert process.returncode == 0
    assert out == b""
    events = [json.loads(line)["event"] for line in errors.decode().splitlines()]
    assert events == ["worker_started", "session_started", "worker_draining", "session_ended", "worker_stopped"]


async def test_a_second_signal_exits_at_once(process: asyncio.subprocess.Process, config: Path) -> None:
    facts = await started(process)
    async with caller(facts, config):
        process.send_signal(signal.SIGTERM)
        await WorkerProcess(process, facts).until("worker_draining")
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 15) == 130  # the call would have 20 s


async def test_sessions_are_shown(process: asyncio.subprocess.Process, config: Path) -> None:
    facts = await started(process)
    async with caller(facts, config) as call:
        status, out, _ = await run("sessions", "--json", "--admin", facts["admin"])
        assert status == 0
        ((session,),) = (document["sessions"] for document in json.loads(out)["workers"])
        assert session["id"] == call.session
        status, out, _ = await run("sessions", "--admin", f"http://{facts['admin']}")
        assert status == 0
        assert "worker-1" in out


async def test_a_port_in_use_is_one_sentence(config: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, out, errors = await run("serve", "--config", str(config), "--listen", address)
    assert (status, out) == (1, "")
    assert errors.count("\n") == 1
    assert address in errors
    assert "in use" in errors


async def test_up_says_all_that_keeps_it_from_serving(tmp_path: Path) -> None:
    arguments: tuple[str, ...] = (
        "up",
        "--check",
        "--workers",
        "2",
        "--agent",
        "parrot",
        "--state",
        str(tmp_path / "state"),
    )
    status, out, errors = await run(*arguments, "--listen", "0.0.0.0:4433")
    assert (status, out) == (1, "")
    certificate, access = [line for line in errors.splitlines() if "runs as root" not in line]
    assert "worker.listen 0.0.0.0:4433 is a public address and tls.certificate" in certificate
    assert "any client may call" in access
    arguments = tuple(each for each in arguments if each != "--check")
    served = await run(*arguments, "--listen", "127.0.0.1:0", "--page", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert served[0] == 1
    assert "voice-gateway: there is no agent 'parrot'" in served[2]
    status, out, _ = await run("up", "--check", *arguments[1:3], "--agent", "echo", *arguments[5:])
    assert (status, out) == (0, "no file: good, 2 workers\n")

"""Standard error that fails or blocks: a full disk, a pipe without reader, a pipe that is full. Calls do not notice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from testbed.ports import free_port
from tests.integration.support.load_balancer import UNPROBED
from tests.integration.support.worker_process import PROGRAM, caller, config, started

__all__ = ["config"]
TIMEOUT_S = 40.0
SUITE = ["tests/integration/worker/test_worker.py", "tests/integration/transports/test_webtransport.py"]


@contextmanager
def full_disk() -> Iterator[int]:
    fd = os.open("/dev/full", os.O_WRONLY)
    yield fd
    os.close(fd)


@contextmanager
def pipe_without_reader() -> Iterator[int]:
    reader, fd = os.pipe()
    os.close(reader)
    yield fd
    os.close(fd)


@contextmanager
def full_pipe() -> Iterator[int]:
    """A pipe whose reader lives and does not read."""
    reader, fd = os.pipe()
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, bytes(4096))
    except BlockingIOError:
        os.set_blocking(fd, True)
    yield fd
    os.close(fd)
    os.close(reader)


SINKS = [full_disk, pipe_without_reader, full_pipe]


def is_done(shown: dict[str, float]) -> bool:
    return shown["voice_sessions"] == 0 and shown.get('voice_reloads_total{result="done",what="settings"}') == 2


@pytest.mark.parametrize("sink", SINKS)
async def test_a_worker_serves_reloads_and_stops_while_its_log_cannot_be_written(
    sink: Callable[[], AbstractContextManager[int]], config: Path
) -> None:
    with sink() as stderr:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *("serve", "--json", "--config", str(config)),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
        try:
            facts = await asyncio.wait_for(started(process), TIMEOUT_S)
            for _ in range(2):
                async with asyncio.timeout(TIMEOUT_S), caller(facts, config) as call:
                    process.send_signal(signal.SIGHUP)
                    await call.finish()
                    assert call.is_finished
            async with asyncio.timeout(TIMEOUT_S):
                while not is_done(shown := await asyncio.to_thread(metrics, facts["admin"])):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert shown["voice_log_lines_lost_total"] == 0  # they wait for the descriptor
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), TIMEOUT_S) == 0
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.mark.parametrize("sink", SINKS)
def test_a_load_balancer_reloads_and_replaces_processes_while_its_log_cannot_be_written(
    sink: Callable[[], AbstractContextManager[int]], tmp_path: Path
) -> None:
    port = free_port()
    settings = tmp_path / "lb.toml"
    settings.write_text(balancer_settings(f"127.0.0.1:{port}"))
    with sink() as stderr:
        command = [sys.executable, "-m", "quiclb", "serve", "--config", str(settings)]
        with subprocess.Popen(command, stderr=stderr) as process:
            try:
                wait_until(lambda: quiclb_metric(port, 'quiclb_processes{state="serving"}') == 2)
                process.send_signal(signal.SIGHUP)
                wait_until(lambda: quiclb_metric(port, 'quiclb_reloads_total{result="unchanged"}') == 1)
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                for child in children:
                    os.kill(int(child), signal.SIGKILL)
                wait_until(lambda: quiclb_metric(port, "quiclb_process_restarts_total") == len(children))
                wait_until(lambda: quiclb_metric(port, 'quiclb_processes{state="serving"}') == 2)
                process.send_signal(signal.SIGTERM)
                assert process.wait(TIMEOUT_S) == 0
            finally:
                process.kill()


@pytest.mark.timeout(400)
def test_the_integration_suite_passes_while_no_log_line_can_be_written() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITE],
        env=os.environ | {"VOICE_TEST_LOG_SINK": "/dev/full"},
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:]


def metrics(address: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def quiclb_metric(port: int, name: str) -> float | None:
    try:
        return metrics(f"127.0.0.1:{port}").get(name)
    except OSError:
        return None


def wait_until(is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def balancer_settings(metrics_address: str) -> str:
    return f"""
[forwarder]
listen = "127.0.0.1:0"
inner = "127.0.0.1:0"
metrics = "{metrics_address}"
allow_loopback_clients = true
processes = 2
{UNPROBED}[[backend]]
name = "b1"
address = "127.0.0.1:9"
server_ids = {{ 0 = "01010101" }}
"""

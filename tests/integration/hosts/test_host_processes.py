"""Agent hosts as an operator runs them: processes, signals, exit status and what they print."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.hosts.cell import Cell
from bench.hosts.kills import hold_calls
from tests.integration.support.worker_process import PROGRAM, run


@pytest.fixture
async def cell() -> AsyncIterator[Cell]:
    folder = Path(tempfile.mkdtemp(prefix="hosts-"))  # a socket's path is short
    made = Cell(folder)
    yield made
    await made.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("point", ["in_utterance", "after_effect", "mid_reply"])
async def test_a_spoken_order_survives_the_kill_of_its_host(cell: Cell, point: str) -> None:
    """Without its ring and its journal it does not: `python -m bench.hosts controls`."""
    cell.environ = {"HOSTS_BENCH_MODELS": "1"}  # the stand-in hears the same words in each recording
    await cell.start()
    outcome = await hold_calls(cell, point)
    assert outcome.killed == 1
    assert (outcome.words_lost, outcome.doubled) == (0, 0)
    assert outcome.repeated == (1 if point == "after_effect" else 0)
    assert [(each.is_state_right, each.is_transcript_right, each.error) for each in outcome.calls] == [(True, True, "")]


async def test_sigterm_hands_the_call_over_and_exits_with_0(cell: Cell) -> None:
    cell.agent = "echo"
    await cell.start()
    async with cell.caller() as call:
        await call.speak(bytes(32_000))
        metrics = await cell.metrics()
        first = next(index for index in (0, 1) if f'host="unix:{cell.socket(index)}"}} 1.0' in metrics)
        cell.hosts[first].send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(cell.hosts[first].wait(), 30) == 0
        await call.speak(bytes(32_000))
        await call.finish()
        assert call.is_finished
    changes = [line for line in (cell.folder / "worker.log").read_text().splitlines() if "agent_host_state" in line]
    states = [line["state"] for line in map(json.loads, changes) if line["host"] == f"unix:{cell.socket(first)}"]
    assert (states[0], states[-2:]) == ("ready", ["draining", "dead"])
    assert 'voice_agent_host_calls_left_total{cause="draining"} 1.0' in await cell.metrics()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no_such_module:Agent",), "is in the module no_such_module, which is not installed"),
        (("no-such-agent",), "there is no agent 'no-such-agent'; installed are"),
        (("echo", "--listen", "unix:/no/such/folder/a.sock"), "there is no folder /no/such/folder"),
        (("echo", "--listen", "tcp:0.0.0.0:7000"), "--token-file, --tls-certificate and --tls-key are required"),
        (("echo", "--listen", "a.sock"), "an agent host is unix:PATH or tcp:HOST:PORT, got 'a.sock'"),
        (("echo", "--processes", "0"), "--processes must be 1 to 256, got 0"),
        (("echo", "--settings", "/no/such/file"), "--settings /no/such/file: no such file"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
async def test_what_is_wrong_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    listen = () if "--listen" in arguments else ("--listen", "unix:/tmp/never.sock")
    status, out, errors = await run("agent", "run", *arguments, *listen)
    assert (status, out) == (1, "")
    assert said in errors
    assert errors.count("\n") == 1


async def test_an_extra_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text(
        "from voice_gateway.agents.echo import EchoAgent\n"
        "class Heavy(EchoAgent):\n    requires = ('no_such_package',)\n    install = 'voice-gateway[heavy]'\n"
    )
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    status, _, errors = await run("agent", "run", "heavy:Heavy", "--listen", "unix:/tmp/never.sock", PYTHONPATH=path)
    assert status == 1
    assert "needs no_such_package: pip install 'voice-gateway[heavy]'" in errors


async def test_several_processes_are_started_again_and_end_together() -> None:
    folder = Path(tempfile.mkdtemp(prefix="hosts-"))
    sockets = [folder / "agents-1.sock", folder / "agents-2.sock"]
    arguments = ("agent", "run", "echo", "--listen", f"unix:{folder / 'agents.sock'}", "--processes", "2")
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *arguments, "--log-format", "json", stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            pids = [json.loads(await process.stderr.readline())["pid"] for _ in sockets]
            assert all(path.exists() for path in sockets)
            os.kill(pids[0], signal.SIGKILL)
            events = [json.loads(await process.stderr.readline())["event"] for _ in range(2)]
            assert events == ["host_process_ended", "host_started"]
            process.send_signal(signal.SIGTERM)
            await process.stderr.read()
            assert await process.wait() == 0
        assert not any(path.exists() for path in sockets)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        shutil.rmtree(folder)


async def test_a_worker_without_a_host_does_not_start(cell: Cell) -> None:
    cell.host_count = 0
    cell.settings = '[agent.hosts]\naddresses = ["unix:none.sock"]\nstart_timeout_s = 0.3\n'
    with pytest.raises(Exception, match=r"no agent host can be used within 0\.3 s: unix:"):
        await cell.start()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('[agent]\nhosts = ["unix:a.sock"]\n[agent.settings]\nmenu = "m.toml"\n', "give them to the hosts"),
        ('[agent]\nhosts = ["tcp:192.0.2.1:7000"]\n', "agent.hosts.token_file is required"),
        ('[agent]\nhosts = ["unix:a.sock", "unix:a.sock"]\n', "each address stands once"),
        ("[agent]\nhosts = []\n", "agent.hosts.addresses"),
    ],
)
async def test_settings_that_cannot_be_served_are_one_sentence(cell: Cell, settings: str, said: str) -> None:
    cell.host_count, cell.settings = 0, settings
    with pytest.raises(Exception, match="did not start") as raised:
        await cell.start()
    assert said in str(raised.value)
    assert "Traceback" not in str(raised.value)

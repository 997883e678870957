"""Runs an agent host until SIGTERM or SIGINT: one process, or several under one that restarts them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
import uvloop

from voice_gateway.agent.base import Agent
from voice_gateway.agent.loading import GivenSettings, load_agent, open_agent
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.process.server import HostServer

RESTART_DELAY_S: Final = 1.0
_log = structlog.get_logger("voice_gateway.hosts")


@dataclass(frozen=True, slots=True)
class HostOptions:
    """Which agent to hold, and where; calls have `drain_timeout_s` to go elsewhere once the host is asked to end."""

    agent: str
    address: HostAddress
    credentials: HostCredentials
    settings: GivenSettings
    drain_timeout_s: float = 30.0


def run_host(options: HostOptions, on_start: Callable[[Agent], None] = lambda agent: None) -> int:
    """Serve, and return the exit status; raises `GatewayError` where it cannot start."""
    return uvloop.run(_serve(options, on_start))


async def _serve(options: HostOptions, on_start: Callable[[Agent], None]) -> int:
    asked = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if asked.is_set():
            os._exit(128 + number)
        asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    agent = load_agent(options.agent, options.settings)
    try:
        await open_agent(agent)
        server = HostServer(agent, options.address, options.credentials)
        await server.start()
        try:
            _log.info("host_started", agent=agent.name, listen=str(options.address), pid=os.getpid())
            on_start(agent)
            await asked.wait()
            _log.info("host_draining", calls=len(server.calls), deadline_s=options.drain_timeout_s)
            await server.drain(options.drain_timeout_s)
            _log.info("host_stopped", calls=len(server.calls))
        finally:
            await server.stop()
    finally:
        await agent.close()
    return 0


def supervise(commands: Sequence[Sequence[str]]) -> int:
    """Run each command as a process, and again when it ends, until SIGTERM or SIGINT, which all of them get."""
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopping.append(number))
    running: dict[int, subprocess.Popen[bytes]] = {}
    due = dict.fromkeys(range(len(commands)), 0.0)
    passed = 0
    while not stopping or running:
        for index, process in list(running.items()):
            if process.poll() is not None:
                del running[index]
                if not stopping:
                    _log.warning("host_process_ended", process=index, status=process.returncode)
                    due[index] = time.monotonic() + RESTART_DELAY_S
        for index, command in enumerate(commands):
            if not stopping and index not in running and time.monotonic() >= due[index]:
                running[index] = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own program
        while passed < len(stopping):
            for process in running.values():
                process.send_signal(signal.SIGTERM)
            passed += 1
        time.sleep(0.05)
    return 0

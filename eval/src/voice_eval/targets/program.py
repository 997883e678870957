"""A program that is started for the evaluation, killed with SIGKILL and started again."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from voice_eval.drivers.base import Endpoint
from voice_eval.errors import EvalError
from voice_eval.targets.base import Strike, Target

_READY_S = 60.0
_STOP_S = 5.0


class Program:
    """One process, and its log."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str], *, down_s: float = 1.0
    ) -> None:
        self._command = list(command)
        self._log = log
        self._environment = dict(environment)
        self._down_s = down_s
        self._address: tuple[str, int] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, address: tuple[str, int] | None = None) -> None:
        """Start it; with a TCP address, return once that takes connections. Raises `EvalError`."""
        self._address = address or self._address
        try:
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=os.environ | self._environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise EvalError(f"{self._command[0]}: {(error.strerror or str(error)).lower()}") from None
        try:
            async with asyncio.timeout(_READY_S):
                while self._address is not None and not await _answers(self._address):
                    if self._process.returncode is not None:
                        raise TimeoutError
                    await asyncio.sleep(0.05)
        except TimeoutError:
            said = self._log.read_text(errors="replace")[-2000:].strip()
            raise EvalError(f"{shlex.join(self._command)} did not come up: {said}") from None

    async def restart(self) -> None:
        """Kill it, and start it again after a second."""
        await self.kill()
        await asyncio.sleep(self._down_s)
        await self.start()

    async def kill(self) -> None:
        """End it and its children with SIGKILL."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _STOP_S)
            await self.kill()


class ProgramTarget(Target):
    """A server that is started with a command; `server` can be killed. `{port}` in command and URL is a free port."""

    def __init__(self, command: str, endpoint: Endpoint, *, is_tcp: bool = True) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        words = [each.replace("{port}", port) for each in shlex.split(command)]
        if not words:
            raise EvalError("--server is empty: give the command that starts the server")
        url = endpoint.url.replace("{port}", port)
        self._endpoint = Endpoint(url, endpoint.ca_file, endpoint.certificate_hash, endpoint.token, endpoint.options)
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 0) if is_tcp else None
        log = Path(tempfile.mkstemp(prefix="voice-eval-server-", suffix=".log")[1])
        self.log = log
        self._program = Program(words, log, {})

    async def __aenter__(self) -> Self:
        await self._program.start(self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._program.stop()
        self.log.unlink(missing_ok=True)

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def faults(self) -> dict[str, Strike]:
        return {"server": self._program.restart}


async def _answers(address: tuple[str, int]) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except OSError:
        return False
    writer.close()
    return True

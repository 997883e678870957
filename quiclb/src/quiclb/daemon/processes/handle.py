"""A forwarding process as the supervisor sees it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence

from quiclb.daemon.processes.messages import (
    Ask,
    Downward,
    Ready,
    Refused,
    Report,
    Serve,
    Setup,
    Stop,
    Table,
    TooLarge,
    encode,
    read_upward,
)
from quiclb.datapath.counters import DatapathCounters
from quiclb.net.address import Address
from quiclb.routing.table_spec import TableSpec


class ChildHandle:
    """Made by `start_child`. `ready` is called when it can serve, `refused` with backends whose port seems closed,
    `too_large` when datagrams do not fit the path to one; `wait` returns when it is gone.

    `slot` is the one it serves, `None` while it is a spare; `counters` and `log_lines_lost` are what it reported last.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ready: Callable[[ChildHandle], None],
        refused: Callable[[Address], None],
        too_large: Callable[[], None],
    ) -> None:
        self.slot: int | None = None
        self.is_ready = False
        self.counters = DatapathCounters()
        self.log_lines_lost = 0
        self._process = process
        self._reader = reader
        self._writer = writer
        self._ready = ready
        self._refused = refused
        self._too_large = too_large
        self._reported = asyncio.Event()
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    @property
    def pid(self) -> int:
        return self._process.pid

    def serve(self, slot: int) -> None:
        """Let it forward in a slot, for good."""
        self.slot = slot
        self._tell(Serve(slot))

    def publish(self, spec: TableSpec) -> None:
        """Change its table."""
        self._tell(Table(spec))

    def stop(self) -> None:
        """Ask it to forward what waits and end."""
        self._tell(Stop())

    def kill(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            self._process.kill()

    async def refresh(self) -> None:
        """Return when `counters` is up to date; raises `TimeoutError` by the caller's timeout only."""
        self._reported.clear()
        self._tell(Ask())
        await self._reported.wait()

    async def wait(self) -> int:
        """Return its exit status when it has ended and its last message is read."""
        status = await self._process.wait()
        await self._listening
        self._writer.close()
        return status

    def _tell(self, message: Downward) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    async def _listen(self) -> None:
        while (message := await read_upward(self._reader)) is not None:
            if isinstance(message, Ready):
                self.is_ready = True
                self._ready(self)
            elif isinstance(message, Report):
                self.counters = message.counters()
                self.log_lines_lost = message.log_lines_lost
                self._reported.set()
            elif isinstance(message, Refused):
                self._refused(message.address)
            elif isinstance(message, TooLarge):
                self._too_large()
        self.is_ready = False
        self._reported.set()


async def start_child(
    setup: Setup,
    spec: TableSpec,
    ready: Callable[[ChildHandle], None],
    refused: Callable[[Address], None],
    too_large: Callable[[], None],
    fds: Sequence[int],
) -> ChildHandle:
    """Start a process that inherits `fds`; it is a spare until `serve`."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "quiclb.daemon.processes.child",
            str(theirs.fileno()),
            pass_fds=(theirs.fileno(), *fds),
            # neither the notification socket nor socket activation is meant for it
            env={name: value for name, value in os.environ.items() if name not in _NOT_FOR_CHILDREN},
        )
    reader, writer = await asyncio.open_connection(sock=ours)
    handle = ChildHandle(process, reader, writer, ready, refused, too_large)
    writer.write(encode(setup) + encode(Table(spec)))
    return handle


_NOT_FOR_CHILDREN = {"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}

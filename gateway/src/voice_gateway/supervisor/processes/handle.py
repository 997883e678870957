"""One worker as its supervisor sees it: a process, and the channel to it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from quiclb.net.address import Address
from voice_gateway.supervisor.processes.messages import MAX_BYTES, Upward, WorkerSetup, channel, encode, read_upward

_NOT_FOR_WORKERS: Final = {
    "NOTIFY_SOCKET",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
}
"""Of the service manager: they are meant for the supervisor."""


class WorkerProcess:
    """Made by `start`, or by `adopt` after an upgrade; `watch` it.

    `admin` is where its metrics and sessions are, once it serves.
    """

    def __init__(self, pid: int, sock: socket.socket, popen: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.channel = sock
        self.admin: Address | None = None
        self._popen = popen
        self._pidfd = os.pidfd_open(pid)

    @classmethod
    def start(cls, setup: WorkerSetup, environ: Mapping[str, str]) -> WorkerProcess:
        """Start the process with the sockets of `setup`; raises `OSError`."""
        ours, theirs = channel()
        with theirs:
            popen = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "voice_gateway.supervisor.processes.child", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *setup.sockets.values()),
                env={name: value for name, value in environ.items() if name not in _NOT_FOR_WORKERS},
                process_group=0,  # the terminal's Ctrl-C is the supervisor's alone
            )
        ours.send(encode(setup))
        return cls(popen.pid, ours, popen)

    @classmethod
    def adopt(cls, pid: int, fd: int) -> WorkerProcess:
        """Take over a child of this process, and its channel, from the program that ran here before."""
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        return cls(pid, sock)

    def watch(self, on_message: Callable[[Upward], None], on_end: Callable[[int], None]) -> None:
        """Call with each message, and with the exit status in the end: negative for a signal."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.channel, self._read, on_message)
        loop.add_reader(self._pidfd, self._reap, on_message, on_end)

    def drain(self) -> None:
        """Ask it to let its calls go on elsewhere and end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def _read(self, on_message: Callable[[Upward], None]) -> None:
        for body in self._packets():
            with suppress(msgspec.DecodeError):  # of another version
                on_message(read_upward.decode(body))

    def _packets(self) -> Sequence[bytes]:
        found = []
        try:
            while body := self.channel.recv(MAX_BYTES):
                found.append(body)
            asyncio.get_running_loop().remove_reader(self.channel)
        except BlockingIOError:
            pass
        except OSError:
            asyncio.get_running_loop().remove_reader(self.channel)
        return found

    def _reap(self, on_message: Callable[[Upward], None], on_end: Callable[[int], None]) -> None:
        loop = asyncio.get_running_loop()
        self._read(on_message)
        loop.remove_reader(self.channel)
        loop.remove_reader(self._pidfd)
        self.channel.close()
        os.close(self._pidfd)
        if self._popen is not None:
            status = self._popen.wait()
        else:
            status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        on_end(status)

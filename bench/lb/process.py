"""Processes on chosen cores, and what they use."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_STOP_S = 5
_KB = 1024
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and all its children hold; `cpu_ns` is the time that their threads have run."""

    cpu_ns: int
    resident_bytes: int
    open_files: int


class Pinned:
    """A command in a session of its own, bound to `cores`."""

    def __init__(self, command: list[str], cores: Collection[int], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["taskset", "-c", ",".join(map(str, cores)), *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.command = command
        self.log = log

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def usage(self) -> Usage:
        """The sum over the session; processes that end meanwhile count nothing."""
        cpu_ns = resident = files = 0
        for folder in _session(self._process.pid):
            with contextlib.suppress(OSError, ValueError):
                cpu_ns += sum(int(p.read_text().split()[0]) for p in folder.glob("task/*/schedstat"))
                resident += _resident(folder)
                files += len(os.listdir(folder / "fd"))
        return Usage(cpu_ns, resident, files)

    def stop(self) -> None:
        """Ask the leader to end, then end what is left of the session."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def running(command: list[str], cores: Collection[int], log: Path) -> Iterator[Pinned]:
    """Run a command for as long as the block lasts."""
    process = Pinned(command, cores, log)
    try:
        yield process
    finally:
        process.stop()


def end_at_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does, by an exception, so that what it started is stopped."""
    signal.signal(signal.SIGTERM, _exit)


def end_with_parent() -> None:
    """Have the kernel end this new process with its parent, should that be killed: for `preexec_fn`."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _exit(number: int, _: FrameType | None) -> None:
    # once: a second one must not interrupt the stopping
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _session(leader: int) -> Iterator[Path]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The command's name in parentheses may hold blanks: count from behind it. Session is the sixth field.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == leader:
                yield folder


def _resident(folder: Path) -> int:
    for line in (folder / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * _KB
    return 0

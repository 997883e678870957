"""Log lines go to a descriptor that may fail or block, from a thread of its own."""

from __future__ import annotations

import atexit
import io
import json
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

RETRY_S: Final = 1.0
"""How long a descriptor that failed is left alone, in seconds."""
MAX_PENDING_BYTES: Final = 256 * 1024
"""How much may wait for the descriptor; what comes beyond is dropped and counted."""
EXIT_TIMEOUT_S: Final = 1.0
"""How long the end of the process may wait for lines to be written, in seconds."""
LOG_LINES_LOST_HELP: Final = (
    "Log lines dropped because standard error took none: a full disk, or a pipe that nothing reads."
)
_ATOMIC_BYTES: Final = 4096  # PIPE_BUF: a pipe takes so much in one piece, other writers or not


class LogWriter:
    """Writes what it is given to `fd`, in order: `write` returns at once and never raises.

    While the descriptor takes nothing (full disk, pipe that is full or has no reader), up to `max_pending_bytes` wait
    and the write is tried again every `retry_s`. What comes beyond is dropped and counted in `lost`; once there is room
    again, the line that `describe_loss` makes of the count stands where lines are missing.
    """

    def __init__(
        self,
        fd: int,
        describe_loss: Callable[[int], str],
        *,
        encoding: str = "utf-8",
        retry_s: float = RETRY_S,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        write: Callable[[int, memoryview], int] = os.write,
    ) -> None:
        self.lost = 0
        """How many lines were dropped since the process began."""
        self.describe_loss = describe_loss
        self.encoding = encoding
        self._fd = fd
        self._retry_s = retry_s
        self._max_pending_bytes = max_pending_bytes
        self._write = write
        # a line may be logged by a destructor that runs while this thread holds the lock
        self._changed = threading.Condition(threading.RLock())
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._unreported = 0
        self._is_overflowing = False
        self._is_failing = False
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Have `text`, one line or a piece of one, written soon; returns at once and never raises."""
        data = text.encode(self.encoding, "backslashreplace")
        with self._changed:
            if self._is_overflowing and self._pending_bytes <= self._max_pending_bytes // 2:
                self._report_loss()
            if self._is_overflowing or self._pending_bytes + len(data) > self._max_pending_bytes or not self._runs():
                self._is_overflowing = True
                self._unreported += 1
                self.lost += 1
                return
            self._append(data)

    def flush(self, timeout_s: float = EXIT_TIMEOUT_S) -> bool:
        """Wait until all is written; false after `timeout_s`, or as soon as the descriptor fails."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pending_bytes or self._is_failing, timeout_s)
            return not self._pending_bytes

    def _runs(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread to be had: the line is lost, the next one tries again
                return False
            self._thread = thread
        return True

    def _append(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        self._changed.notify_all()

    def _report_loss(self) -> None:
        count, self._unreported, self._is_overflowing = self._unreported, 0, False
        self._append(self.describe_loss(count).encode(self.encoding, "backslashreplace"))

    def _run(self) -> None:
        while True:
            rest = memoryview(self._take())
            while rest:
                written = self._try(rest)
                rest = rest[written:]
                with self._changed:
                    self._pending_bytes -= written
                    self._changed.notify_all()

    def _take(self) -> bytes:
        """Wait for lines and return those that go in one piece."""
        with self._changed:
            while not self._pending:
                if self._unreported:
                    self._report_loss()
                else:
                    self._changed.wait()
            taken = [self._pending.popleft()]
            length = len(taken[0])
            while self._pending and length + len(self._pending[0]) <= _ATOMIC_BYTES:
                taken.append(self._pending.popleft())
                length += len(taken[-1])
        return b"".join(taken)

    def _try(self, data: memoryview) -> int:
        """Write and return how many bytes were taken; none after a pause where the descriptor fails."""
        try:
            written = self._write(self._fd, data)
        except BlockingIOError:
            self._fail()
            _wait_writable(self._fd, self._retry_s)
            return 0
        except OSError:
            self._fail()
            time.sleep(self._retry_s)
            return 0
        self._is_failing = False
        return written

    def _fail(self) -> None:
        with self._changed:
            self._is_failing = True
            self._changed.notify_all()


def install() -> LogWriter | None:
    """Let everything that this process writes to `sys.stderr`, tracebacks too, go through one `LogWriter`.

    Returns it, the same one each time; `None` where `sys.stderr` is not the process's own, as in a test. What is not
    written within `EXIT_TIMEOUT_S` of the end of the process is lost.
    """
    global _installed
    if _installed is None:
        stream = sys.__stderr__
        if stream is None or sys.stderr is not stream:
            return None
        try:
            is_terminal, fd = stream.isatty(), stream.fileno()
        except (OSError, ValueError):
            return None
        _installed = LogWriter(fd, console_loss if is_terminal else json_loss, encoding=stream.encoding)
        sys.stderr = StandardError(_installed, fd, is_terminal)
        atexit.register(_uninstall)
    return _installed


def flush() -> None:
    """Wait until what was logged is written, at most `EXIT_TIMEOUT_S`; needed before `os._exit` only."""
    if _installed is not None:
        _installed.flush()


def lines_lost() -> int:
    """How many lines this process dropped because standard error took none."""
    return 0 if _installed is None else _installed.lost


def json_loss(count: int) -> str:
    """A JSON line that says how many lines are missing."""
    fields = {"count": count, "event": "log_lines_lost", "level": "warning", "timestamp": _now()}
    return json.dumps(fields) + "\n"


def console_loss(count: int) -> str:
    """Return the line that reports a loss, for a terminal."""
    return f"{_now()} [warning  ] log_lines_lost                 count={count}\n"


class StandardError(io.TextIOBase):
    """A text stream in front of a `LogWriter`."""

    errors = "backslashreplace"

    def __init__(self, writer: LogWriter, fd: int, is_terminal: bool) -> None:
        self._writer = writer
        self._fd = fd
        self._is_terminal = is_terminal

    def write(self, text: str) -> int:
        self._writer.write(text)
        return len(text)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute that may be set
        return self._writer.encoding

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._is_terminal

    def fileno(self) -> int:
        return self._fd


_installed: LogWriter | None = None


def _uninstall() -> None:
    global _installed
    if _installed is not None:
        _installed.flush()
        sys.stderr, _installed = sys.__stderr__, None


def _wait_writable(fd: int, timeout_s: float) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll(timeout_s * 1000)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + "Z"

"""What the commands `quiclb`, `voice-gateway` and `voice-client` print: any encoding, and output that fails."""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, NoReturn, TextIO

BROKEN_PIPE_STATUS: Final = 141
"""The exit status of a command whose output nothing reads any more: what a shell shows for SIGPIPE."""
MAX_WAITING_WRITES: Final = 10_000
"""How many pieces wait for a background thread; what comes beyond is left out."""
_FLUSH: Final = ""


class OutputError(Exception):
    """Standard output takes no more; no `OSError`, so that no library in between handles it."""


def run_command(name: str, command: Callable[[], object], errors: tuple[type[Exception], ...]) -> NoReturn:
    """Run `command`, a typer application, with guarded standard streams, and exit.

    An exception of `errors` is one sentence on standard error and exit status 1, and so is output that cannot be
    written; a broken pipe ends the command quietly with `BROKEN_PIPE_STATUS`, an interrupt with 130.
    """
    stdout = sys.stdout
    output = _guard_streams(name)
    status: object = 0
    try:
        command()
    except SystemExit as ended:
        status = ended.code
    except errors as error:
        report_error(name, str(error))
        status = 1
    except KeyboardInterrupt:
        status = 130
    except OutputError:
        status = 1
    if isinstance(status, str):
        report_error("", status)
        status = 1
    with suppress(OutputError):
        output.flush()
    sys.stdout = stdout
    sys.exit(output.exit_status(int(status) if isinstance(status, int) else 0))


def report_error(name: str, message: str) -> None:
    """Print `name: message` on standard error; where that cannot be written, the exit status has to do."""
    if sys.stderr is None:
        return
    try:
        print(f"{name}: {message}" if name else message, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _silence(sys.stderr)


def print_json(document: object, indent: int | None = 2) -> None:
    """Print a JSON document, escaped as far as the encoding of standard output asks for."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = json.dumps(document, indent=indent, ensure_ascii=not encoding.lower().startswith("utf"))
    print(text, flush=True)


@contextmanager
def optional_output(*, is_background: bool = False) -> Iterator[None]:
    """Within this block, standard output that fails is taken out and reported, and what goes on beside it goes on.

    With `is_background` a thread writes, so that a pipe that nothing reads or a stopped terminal does not hold up an
    event loop; the end of the block waits for it.
    """
    output = sys.stdout
    if not isinstance(output, Output):
        yield
        return
    output.is_optional = True
    if is_background:
        output.begin_background()
    try:
        yield
    finally:
        output.end_background()
        output.is_optional = False


class Output(io.TextIOBase):
    """A text stream in front of standard output that fails once, with `OutputError`."""

    errors = "plain"

    def __init__(self, stream: TextIO, name: str) -> None:
        self.is_optional = False
        """While true, a failure raises nothing: it is reported, and what is printed after it goes nowhere."""
        self.failure: OSError | None = None
        self._was_optional = False
        self._stream = stream
        self._name = name
        self._waiting: queue.SimpleQueue[str | None] | None = None
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        if self._waiting is not None:
            self._put(self._waiting, text)
        elif self.failure is None:
            self._try(lambda: self._stream.write(text))
        elif not self.is_optional:
            raise OutputError
        return len(text)

    def flush(self) -> None:
        if self._waiting is not None:
            self._put(self._waiting, _FLUSH)
        elif self.failure is None:
            self._try(self._stream.flush)

    def begin_background(self) -> None:
        """Let a thread write from now on; a failure must raise nothing then (`is_optional`)."""
        self._waiting = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_waiting, args=(self._waiting,), name="output", daemon=True)
        self._thread.start()

    def end_background(self) -> None:
        """Wait until the thread has written everything, and write in the caller's again."""
        if self._waiting is not None and self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._waiting = self._thread = None

    def _write_waiting(self, waiting: queue.SimpleQueue[str | None]) -> None:
        while (text := waiting.get()) is not None:
            if self.failure is None:
                self._try(self._stream.flush if text == _FLUSH else partial(self._stream.write, text))

    @staticmethod
    def _put(waiting: queue.SimpleQueue[str | None], text: str) -> None:
        if waiting.qsize() < MAX_WAITING_WRITES:
            waiting.put(text)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            self._fail(error)

    def exit_status(self, status: int) -> int:
        """The command's exit status in view of what became of its output."""
        if self.failure is None or (status and self._was_optional):
            return status
        if self.failure.errno == errno.EPIPE:
            return status if self._was_optional else BROKEN_PIPE_STATUS
        return status or 1

    def _fail(self, error: OSError) -> None:
        self.failure, self._was_optional = error, self.is_optional
        _silence(self._stream)
        if error.errno != errno.EPIPE:
            reason = (error.strerror or str(error)).lower()
            rest = "; going on without it" if self.is_optional else ""
            report_error(self._name, f"cannot write to standard output: {reason}{rest}")
        if not self.is_optional:
            raise OutputError from None

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute that may be set
        return self._stream.encoding

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def _guard_streams(name: str) -> Output:
    """Open what was closed at the start: a socket must not become descriptor 1. Returns the new `sys.stdout`."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free: this one
    stream = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - for the life of the process
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="plain")
    output = Output(stream, name)
    sys.stdout = output
    return output


def _silence(stream: TextIO) -> None:
    """Let the descriptor lead nowhere: the interpreter flushes once more when it ends, and would fail on that."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


_PLAIN: Final = {
    "→": "->",
    "…": "...",
    "·": "-",
    "─": "-",
    "\u2013": "-",
    "\u2018": "'",
    "\u2019": "'",
    "“": '"',
    "”": '"',
}


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in missing), error.end


codecs.register_error("plain", _plain)

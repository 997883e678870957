"""The load generator of `native/`: builds it with cargo, starts it on its cores, and gives it commands."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

SOURCE = Path(__file__).parent / "native"
_T = TypeVar("_T")


class GeneratorError(Exception):
    """The generator cannot be built, or ended before its time."""


def build(folder: Path) -> Path:
    """Compile the generator into `folder`, which keeps what cargo made, and return the program."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise GeneratorError(
            "the generator needs cargo of Rust 1.85 or newer; on Debian: apt-get install cargo, or rustup"
        )
    command = [cargo, "build", "--release", "--locked", "--quiet", "--manifest-path", str(SOURCE / "Cargo.toml")]
    subprocess.run([*command, "--target-dir", str(folder)], check=True)
    return folder / "release" / "generator"


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds; all 0 where `n` is."""

    n: int
    median: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Datagrams:
    """Datagrams of UDP as callers count them, and their bytes: what is `sent` comes in at the server."""

    sent: int
    received: int
    sent_bytes: int
    received_bytes: int


@dataclass(frozen=True, slots=True)
class Grown:
    """All sessions there are, and what became of those that were asked for."""

    sessions: int
    opened: int
    failed: int
    reason: str


@dataclass(frozen=True, slots=True)
class CallerView:
    """One window as the callers saw it.

    `echo_ms` and `pong_ms` count from when a frame or ping was due to be sent, so that the generator's own delay,
    `behind_ms`, is in them. `jitter_ms` is by how much that of echoes varied, after each of them. `lost` sessions ended
    by themselves, for `reason`. `cpu_s` is the generator's own. `datagrams` are those of the project's own generator
    over UDP; other callers do not count them.
    """

    seconds: float
    sessions: int
    lost: int
    reason: str
    frames_sent: int
    frames_received: int
    bytes_received: int
    cpu_s: float
    echo_ms: Quantiles
    jitter_ms: Quantiles
    pong_ms: Quantiles
    behind_ms: Quantiles
    datagrams: Datagrams | None = None


@dataclass(frozen=True, slots=True)
class Handshakes:
    """Connections opened and closed again; `ms` is how long the opening took."""

    seconds: float
    completed: int
    failed: int
    reason: str
    cpu_s: float
    ms: Quantiles


class Generator:
    """A running generator: each method is one command, and returns when it has been carried out."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def grow(self, count: int, seconds: float) -> Grown:
        """Begin `count` more calls, spread over `seconds`."""
        return self._ask(f"grow {count} {seconds:g}", Grown)

    def begin(self) -> None:
        """Begin a window: what was counted before is forgotten."""
        self._ask("begin", dict[str, int])

    def end(self) -> CallerView:
        """Return what was counted since the window began."""
        return self._ask("end", CallerView)

    def handshakes(self, concurrency: int, seconds: float) -> Handshakes:
        """Open and close connections, `concurrency` at a time."""
        return self._ask(f"handshakes {concurrency} {seconds:g}", Handshakes)

    def quit(self) -> None:
        """Close all calls and end."""
        try:
            self._process.communicate("quit\n", timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        except BrokenPipeError:
            self._process.wait()

    def _ask(self, command: str, kind: type[_T]) -> _T:
        commands, answers = self._process.stdin, self._process.stdout
        if commands is None or answers is None:
            raise GeneratorError("the generator was started without pipes")
        try:
            commands.write(command + "\n")
            commands.flush()
            line = answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise GeneratorError(f"the generator ended at {command!r}: {self._log.read_text()[-2000:].strip()}")
        return msgspec.json.decode(line, type=kind)


@contextmanager
def running(command: Sequence[str], cores: Collection[int], folder: Path) -> Iterator[Generator]:
    """Start a generator, bound to `cores`; its calls are closed at the end."""
    log = folder / "generator.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, sorted(cores))), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    generator = Generator(process, log)
    try:
        yield generator
    finally:
        generator.quit()

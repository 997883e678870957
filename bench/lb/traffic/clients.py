"""Runs the load generator and reads what it saw."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.lb.process import Pinned, end_with_parent
from bench.lb.report.outcome import Outcome
from bench.lb.traffic.pool import Address

DEFAULT_FLOWS = 64


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients do: keep `window` datagrams under way, or send `rate` each second without waiting for replies.

    `is_sticky`: the implementation reads no connection IDs, so that a flow must only stay with its first backend.
    `is_once`: end when each flow has sent one datagram, instead of after `seconds`.
    """

    size: int
    seconds: float
    warmup_s: float = 0.3
    window: int | None = None
    rate: float | None = None
    flows: int = DEFAULT_FLOWS
    is_sticky: bool = False
    is_once: bool = False

    def arguments(self) -> list[str]:
        pace = ["--window", str(self.window)] if self.window is not None else ["--rate", str(self.rate)]
        flags = [flag for flag, is_set in (("--sticky", self.is_sticky), ("--once", self.is_once)) if is_set]
        numbers = ["--size", self.size, "--flows", self.flows, "--seconds", self.seconds, "--warmup", self.warmup_s]
        return [*map(str, numbers), *pace, *flags]


@dataclass(frozen=True, slots=True)
class Clients:
    """The load generator on its cores."""

    program: Path
    cores: Collection[int]

    def command(self, target: Address, templates: Path, load: Load) -> list[str]:
        where = ["--target", f"{target[0]}:{target[1]}", "--templates", str(templates)]
        return ["taskset", "-c", ",".join(map(str, self.cores)), str(self.program), *where, *load.arguments()]

    def run(self, target: Address, templates: Path, load: Load, implementations: Sequence[Pinned] = ()) -> Outcome:
        """Run to the end; `implementations` are the processes whose CPU time counts. Raises `CalledProcessError`."""
        with self.started(target, templates, load) as process:
            assert process.stdout is not None
            cpu_at: dict[str, int] = {}
            result = ""
            for line in process.stdout:
                if line.startswith("{"):
                    result = line
                else:
                    cpu_at[line.strip()] = sum(implementation.usage().cpu_ns for implementation in implementations)
        if process.returncode or not result:
            raise subprocess.CalledProcessError(process.returncode, process.args)
        return outcome(result, cpu_at.get("done", 0) - cpu_at.get("measuring", 0))

    @contextlib.contextmanager
    def started(self, target: Address, templates: Path, load: Load) -> Iterator[subprocess.Popen[str]]:
        """Run beside the block, which reads the result with `finish`; end it if the block fails."""
        command = self.command(target, templates, load)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent) as process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Wait for a generator that was started."""
    output, _ = process.communicate()
    return outcome(output.splitlines()[-1], 0)


def outcome(line: str, cpu_ns: int) -> Outcome:
    """Read the generator's last line."""
    fields = json.loads(line)
    fields["latency_ns"] = [(low, high, count) for low, high, count in fields["latency_ns"]]
    return Outcome(**fields, cpu_ns=cpu_ns)

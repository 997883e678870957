"""`quiclb serve` as a process whose parts can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

from quiclb.net.address import Address, parse_address

START_TIMEOUT_S: Final = 40.0


class Daemon:
    """Started when made and forwarding; `stop` or `kill` it. Its log goes to a file beside the settings."""

    def __init__(self, settings: Path, **flags: str) -> None:
        self._log = settings.with_suffix(f".{time.monotonic_ns()}.log")
        arguments = [part for name, value in flags.items() for part in (f"--{name}", value)]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "quiclb", "serve", "-c", str(settings), "--log-format", "json", *arguments],
                stderr=log,
            )
        try:
            started = self.wait_for("load balancer started")
        except BaseException:
            self.kill()
            raise
        self.vip: Address = parse_address(started["vip"])
        self.inner: Address = parse_address(started["inner"])
        self._metrics = started["metrics"]

    def events(self) -> list[dict[str, Any]]:
        """The log so far."""
        lines = self._log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until the log has so many of an event; return the last."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            found = [line for line in self.events() if line["event"] == event]
            if len(found) >= count:
                return found[count - 1]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"no {event!r}: {self._log.read_text()}")

    def serving(self) -> dict[int, int]:
        """Which process serves each slot, as last logged."""
        return {line["slot"]: line["pid"] for line in self.events() if line["event"] == "forwarding process serves"}

    def children(self) -> list[int]:
        """All processes of the supervisor."""
        return children_of(self.process.pid)

    def scrape(self) -> dict[str, float]:
        """Every sample of /metrics, by its name with labels."""
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def kill(self) -> None:
        """Kill the daemon and all its processes."""
        for pid in (*self.children(), self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(15)


def children_of(pid: int) -> list[int]:
    """The processes that a process started; none if it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

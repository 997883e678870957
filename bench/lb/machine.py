"""The machine the figures come from, and how much of it others used meanwhile."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path

_IDLE, _IOWAIT = 3, 4
_PRIORITY = -15
_REALTIME_PRIORITY = 1


def describe_machine() -> dict[str, str | int | float]:
    """The machine that the figures are measured on."""
    models = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "priority": _priority(),
    }


def raise_file_limit() -> None:
    """Allow as many open files as the kernel lets us, for those who need one for each client."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        most = int(Path("/proc/sys/fs/nr_open").read_text())
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def raise_priority(*, is_realtime: bool) -> None:
    """Go before the machine's other work, with everything started from now on; without the right to it, stay.

    In real time the others get what is left over: on a busy machine nothing else gives figures that mean something.
    """
    with contextlib.suppress(PermissionError):
        if is_realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_REALTIME_PRIORITY))
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds since some beginning: of all cores, busy or not, and of this process and its ended children."""

    total_s: float
    busy_s: float
    own_s: float

    @classmethod
    def now(cls) -> Spent:
        ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        second = os.sysconf("SC_CLK_TCK")
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        return cls(sum(ticks) / second, (sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]) / second, own)

    def others_since(self, earlier: Spent) -> float:
        """The share of the machine, 0..1, that went to processes that are not ours, or was stolen from it."""
        total = self.total_s - earlier.total_s
        others = self.busy_s - earlier.busy_s - (self.own_s - earlier.own_s)
        return min(1.0, max(0.0, others / total)) if total > 0 else 0.0


def _priority() -> str:
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        return "real-time"
    return f"nice {os.getpriority(os.PRIO_PROCESS, 0)}"


def _cpuinfo() -> list[str]:
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text().splitlines()
    return []

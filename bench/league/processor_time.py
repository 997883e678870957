"""CPU time of all processes below this one: of the servers, as the callers are this process."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of `/proc/PID/stat`; `own` and `reaped` in clock ticks, the latter of children that have ended."""

    pid: int
    parent: int
    own: int
    reaped: int

    @classmethod
    def parse(cls, line: str) -> Process:
        """Raises `ValueError`. The name, in brackets, may hold spaces and brackets."""
        pid, rest = line.split(" (", 1)
        fields = rest.rsplit(") ", 1)[1].split()
        user, system, user_reaped, system_reaped = (int(each) for each in fields[11:15])
        return cls(int(pid), int(fields[1]), user + system, user_reaped + system_reaped)


def below(pid: int, processes: list[Process]) -> int:
    """Return the clock ticks of all that `pid` started, directly or not, those that have ended too."""
    children = defaultdict(list)
    for each in processes:
        children[each.parent].append(each)
    total = sum(each.reaped for each in processes if each.pid == pid)
    waiting = list(children[pid])
    while waiting:
        process = waiting.pop()
        total += process.own + process.reaped
        waiting += children[process.pid]
    return total


def server_cpu_s() -> float:
    """Return the CPU seconds so far of all processes below this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found.append(Process.parse(path.read_text()))
        except (OSError, ValueError):  # it ended meanwhile
            continue
    return below(os.getpid(), found) / _TICKS_PER_S

"""What this machine, or the container, gives its workers, and what each of them may take of it."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.worker_sections import MOST_WORKERS
from voice_gateway.web.descriptors import HELD_BACK

WORKER_BYTES: Final = 256 << 20
"""Budget of a worker without sessions, the models of an agent in it included; an idle one with the echo agent has a
third of it."""
SESSION_BYTES: Final = 1 << 20
"""Budget of a session, most of it for its agent; the gateway's own share is a small part of it."""
MEMORY_SHARE: Final = 0.8
"""Of the memory; the rest is for the page cache, the kernel's socket buffers and other programs."""
MOST_SESSIONS: Final = 500
"""What one core carries with a margin (`deploy/sizing.md`)."""
LEAST_SESSIONS: Final = 8

Read = Callable[[str], str | None]
"""Returns the text of a file, `None` where there is none."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`cores` are those that this process may run on, `quota` is how many of them at a time, `None` for all.

    `memory_bytes` is the machine's, or the limit of the container or unit; `descriptors` the hard limit of a process,
    `None` for none.
    """

    cores: tuple[int, ...]
    memory_bytes: int
    quota: float | None = None
    descriptors: int | None = None

    @classmethod
    def of_process(cls) -> Machine:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(
            tuple(sorted(os.sched_getaffinity(0))),
            min(memory_bytes, memory_limit(_read) or memory_bytes),
            cpu_quota(_read),
            None if hard == resource.RLIM_INFINITY else hard,
        )

    @property
    def workers(self) -> int:
        """One for each core that can be busy at a time."""
        cores = len(self.cores)
        return max(1, min(MOST_WORKERS, cores if self.quota is None else min(cores, int(self.quota))))

    def core_of(self, place: int) -> int:
        """Return the core of a worker; several share one where there are more workers than cores."""
        return self.cores[place % len(self.cores)]

    def sessions_of_each(self, workers: int) -> int:
        """Return how many sessions each worker may have; raises `ConfigurationError` where the memory is too small.

        Each session may need a descriptor, as its agent may call a service.
        """
        share = int(self.memory_bytes * MEMORY_SHARE) // workers
        by_memory = (share - WORKER_BYTES) // SESSION_BYTES
        by_descriptors = MOST_SESSIONS if self.descriptors is None else self.descriptors - HELD_BACK
        sessions = min(MOST_SESSIONS, by_memory, by_descriptors)
        if sessions >= LEAST_SESSIONS:
            return sessions
        if by_memory <= by_descriptors:
            mib = self.memory_bytes >> 20
            raise ConfigurationError(
                f"{workers} workers need more than the {mib} MiB of memory that are here: run fewer with --workers, "
                "or set session.max_sessions yourself"
            )
        raise ConfigurationError(
            f"{self.descriptors} file descriptors are too few: raise the hard limit (ulimit -n, LimitNOFILE=)"
        )


def cpu_quota(read: Read) -> float | None:
    """Return how many cores the control group may use at a time (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`)."""
    quotas = [_cores(read(f"{folder}/cpu.max")) for folder in _control_groups(read)]
    quota, period = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    quotas.append(_cores(None if quota is None or period is None else f"{quota} {period}"))
    return min((each for each in quotas if each is not None), default=None)


def memory_limit(read: Read) -> int | None:
    """Return the memory limit of the control group in bytes (cgroup v2 `memory.max`, v1 `memory.limit_in_bytes`)."""
    texts = [read(f"{folder}/memory.max") for folder in _control_groups(read)]
    texts.append(read("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    return min((int(text) for text in texts if text is not None and text.strip().isdecimal()), default=None)


def _control_groups(read: Read) -> list[str]:
    """Return the folders of this process's cgroup v2 and of those above it, each of which limits it.

    A container sees its own as the root; a unit of systemd (`MemoryMax=`, `CPUQuota=`) lies some levels below it.
    """
    lines = (read("/proc/self/cgroup") or "").splitlines()
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    parts = [part for part in own.split("/") if part and part != ".."]
    return ["/".join(("/sys/fs/cgroup", *parts[:depth])) for depth in range(len(parts) + 1)]


def _cores(text: str | None) -> float | None:
    numbers = [] if text is None else text.split()
    if len(numbers) != 2 or not all(each.isdecimal() for each in numbers) or not int(numbers[1]):
        return None  # "max 100000" or -1: no limit
    return int(numbers[0]) / int(numbers[1])


def _read(name: str) -> str | None:
    try:
        return Path(name).read_text()
    except OSError:
        return None

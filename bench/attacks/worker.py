"""`python -m bench.attacks.worker SETTINGS FIGURES CORE`: a worker whose event loop's lateness is recorded.

Each line of FIGURES is a tenth of a second: the monotonic time, how many milliseconds late the loop was each time it
should have run a callback 5 ms later, for how many milliseconds of that another process had the processor, and the
resident memory in MB.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import TextIO

from quiclb.logs.setup import LogFormat, configure_logging
from voice_gateway.settings.gateway_settings import load_settings
from voice_gateway.worker.worker import Worker, run

DESCRIPTORS = 1024
SAMPLE_S = 0.005
SAMPLES_A_LINE = 20
_PAGE_BYTES = resource.getpagesize()


def resident_mb() -> float:
    """This process's resident memory in MB (10^6 bytes)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6


def run_delay_ms() -> float:
    """For how long this thread was ready to run, and another had the processor, since it began."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e6


async def sample(figures: TextIO) -> None:
    """Write a line for every 20 samples, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        late_ms, preempted_ms = [], []
        for _ in range(SAMPLES_A_LINE):
            due, waited_ms = loop.time() + SAMPLE_S, run_delay_ms()
            await asyncio.sleep(SAMPLE_S)
            late_ms.append(round(max(0.0, loop.time() - due) * 1000, 1))
            preempted_ms.append(round(run_delay_ms() - waited_ms, 1))
        line = {
            "at": time.monotonic(),
            "late_ms": late_ms,
            "preempted_ms": preempted_ms,
            "rss_mb": round(resident_mb(), 2),
        }
        figures.write(json.dumps(line) + "\n")
        figures.flush()


def started(figures: TextIO, tasks: list[asyncio.Task[None]], worker: Worker) -> None:
    """Print where the worker listens, and begin to sample."""
    tasks.append(asyncio.get_running_loop().create_task(sample(figures)))
    addresses = worker.addresses
    facts = {
        "quic": addresses.direct,
        "websocket": addresses.websocket,
        "telephony": addresses.telephony,
        "admin": addresses.admin,
    }
    print(json.dumps(facts), flush=True)


def main() -> int:
    settings, figures, core = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    configure_logging(LogFormat.JSON, "info")
    tasks: list[asyncio.Task[None]] = []
    with Path(figures).open("w") as file:
        return run(load_settings(Path(settings)), partial(started, file, tasks))


if __name__ == "__main__":
    sys.exit(main())

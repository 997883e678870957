"""What calls lose on one machine under `voice-gateway up` when a worker is killed, and at a reload and an upgrade.

Two workers on loopback, one call on each, who talk while it happens. The gap is the client's: from the last sign that
what it sends arrives until a worker was ready for it again. A call that lost a word ends the bench with an error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench.figures import save, summary, table
from testbed.box import Box, box, talking
from voice_client import VoiceClient

Event = Callable[[Box, Sequence[VoiceClient]], Awaitable[None]]


async def kill(running: Box, calls: Sequence[VoiceClient]) -> None:
    before = await running.workers()
    os.kill(before[calls[0].worker or ""], signal.SIGKILL)
    await running.until_workers(lambda found: len(found) == len(before) and found != before)


async def reload(running: Box, calls: Sequence[VoiceClient]) -> None:
    await replaced(running, signal.SIGHUP)


async def upgrade(running: Box, calls: Sequence[VoiceClient]) -> None:
    await replaced(running, signal.SIGUSR2)


async def replaced(running: Box, number: signal.Signals) -> None:
    before = set((await running.workers()).values())
    running.process.send_signal(number)
    await running.until("workers_replaced")
    assert before.isdisjoint((await running.workers()).values())


EVENTS: dict[str, Event] = {"worker SIGKILL": kill, "reload (SIGHUP)": reload, "upgrade (SIGUSR2)": upgrade}


async def measure(count: int) -> None:
    rows, document = [], {}
    with tempfile.TemporaryDirectory() as folder:
        async with box(Path(folder)) as running:
            for name, event in EVENTS.items():
                gaps: list[float] = []
                calls_total = 0
                while len(gaps) < count:
                    calls = await running.calls_on_each_worker()
                    async with talking(calls):
                        await event(running, calls)
                    calls_total += len(calls)
                    gaps += [resumed.gap_ms for call in calls for resumed in call.resumes]
                figures = document[name] = summary(gaps) | {"calls": calls_total}
                rows.append([name, calls_total, figures["n"], figures["median"], figures["p99"], figures["max"]])
    header = ["event", "calls", "resumes", "median ms", "p99 ms", "max ms"]
    title = "The gap of a call that resumes, one machine; a lost word would have ended the bench"
    save("box", {"events": document}, f"{title}\n\n{table(header, rows)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50, help="resumes for each event")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.count))


if __name__ == "__main__":
    main()

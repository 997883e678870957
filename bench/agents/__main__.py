"""What a call loses when its worker, agent host or vendor is killed, for each way to bring an agent.

A caller of the Python SDK speaks a recorded order to a real worker with a SQLite store. SIGKILL ends the worker, the
agent host, or the local vendor that a bridge dials, in the middle of the speech, or between the effect of the agent's
tool and its result. Calls go on at a spare process at once: how long a load balancer takes to notice is `make
bench-survival`. Several calls at a time meet one kill. The controls must lose words or call the tool under a second
key, else the exit status is 1. `make bench-agents`; its results are `agents.md` and `agents.json`, written after each
kill, and `--resume` goes on with those of the same commit.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bench.agents.cells import HEADER, Amount, Job, jobs_of
from bench.agents.kills import Cell
from bench.figures import save, saved, table

NAME = "agents"


@dataclass(slots=True)
class Progress:
    """Prints and saves what was measured, after each round."""

    jobs: Sequence[Job]
    amount: Amount
    began: float

    def on_round(self, job: Job, cell: Cell) -> None:
        """Print one line, and save all."""
        due = self.amount.count * sum(len(each.cells) for each in self.jobs)
        held = sum(min(each.held(cell), self.amount.count) for each in self.jobs for cell in each.cells)
        elapsed_s = time.monotonic() - self.began
        print(f"{elapsed_s:5.0f} s, {held} of {due} calls | {' | '.join(map(str, job.row(cell)))}", flush=True)
        for odd in job.odd(cell):
            print(f"    {odd}", flush=True)
        self.save(is_shown=False)

    def save(self, *, is_shown: bool) -> None:
        """Write the results."""
        title = f"Calls whose worker, host or vendor is killed, on loopback, {self.amount.calls} calls at a time"
        rows = [job.row(cell) for job in self.jobs for cell in job.rounds]
        document = {"cells": [each for job in self.jobs for each in job.documents()]}
        save(NAME, document, f"{title}\n\n{table(HEADER, rows)}", is_shown=is_shown)


async def measure(jobs: Sequence[Job], progress: Progress, lanes: int, minutes: float) -> list[str]:
    """Run the jobs, `lanes` at a time; return a sentence for each that could not be measured."""
    share_s = minutes * 60 * lanes / sum(len(job.cells) for job in jobs)
    waiting = list(enumerate(jobs))
    faults: list[str] = []

    async def work(folder: Path) -> None:
        while waiting:
            number, job = waiting.pop(0)
            amount = replace(progress.amount, until=time.monotonic() + share_s * len(job.cells))
            try:
                await job.run(folder / str(number), amount, progress.on_round)
            except Exception as error:  # one way that cannot be measured must not cost the figures of the others
                faults.append(f"{job.name}: {type(error).__name__}: {error}")
                print(faults[-1], flush=True)

    with tempfile.TemporaryDirectory(prefix="agents-", ignore_cleanup_errors=True) as folder:
        await asyncio.gather(*(work(Path(folder)) for _ in range(lanes)))
    return faults


def main() -> None:
    """Measure, save and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", metavar="way", help="names of ways; default: all, and the controls")
    parser.add_argument("--count", type=int, default=20, help="calls in each cell")
    parser.add_argument("--calls", type=int, default=5, help="calls that one kill meets")
    parser.add_argument("--lanes", type=int, default=2, help="ways at the same time")
    parser.add_argument("--minutes", type=float, default=60.0, help="cells are left at fewer calls after so long")
    parser.add_argument("--quick", action="store_true", help="3 calls and one kill in each cell")
    parser.add_argument("--resume", action="store_true", help="keep what was measured at this commit")
    asked = parser.parse_args()
    try:
        jobs = jobs_of(asked.ways)
    except ValueError as error:
        parser.error(str(error))
    amount = Amount(3, 3) if asked.quick else Amount(asked.count, min(asked.calls, asked.count))
    if asked.resume:
        for job in jobs:
            job.restore(saved(NAME).get("cells", ()))
    progress = Progress(jobs, amount, time.monotonic())
    faults = ["it was interrupted"]
    with suppress(KeyboardInterrupt):  # what was measured until then is saved
        faults = asyncio.run(measure(jobs, progress, asked.lanes, asked.minutes))
    progress.save(is_shown=True)
    faults += [fault for job in jobs for fault in job.faults()]
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()

"""What a call loses when its worker or its vendor is killed, for each way to bring an agent.

A caller of the Python SDK speaks a recorded order to a real worker with a SQLite store. SIGKILL ends the worker, or the
local vendor that a bridge dials, in the middle of the speech, or between the effect of the agent's tool and its
result. Calls go on at a spare process at once: how long a load balancer takes to notice is `make bench-survival`.
Several calls at a time meet one kill. The controls must lose words or call the tool under a second key. `make
bench-agents`; its results are `agents.md` and `agents.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.agents.kills import EFFECT, MID_SPEECH, NOTHING, Cell, Lane, Outcome, Round, hold_calls
from bench.agents.ways import FORGETFUL, WAYS, Way
from bench.figures import save, summary, table

HEADER: Final = (
    "way",
    "killed",
    "calls (kills)",
    "failed",
    "words lost",
    "effects under a second key",
    "repeated under their key",
    "wrong transcripts",
    "wrong states",
    "silence ms: median",
    "p99",
)


@dataclass(slots=True)
class Job:
    """One way with the cells that it is measured in."""

    way: Way
    cells: tuple[Cell, ...]
    has_store: bool = True
    rounds: dict[Cell, list[Round]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the way's name, and what the control lacks."""
        return self.way.name if self.has_store else f"{self.way.name} without store"

    async def run(self, folder: Path, count: int, calls: int, until: float) -> None:
        """Measure each cell in turn, to `count` calls each or until then."""
        lane = Lane(self.way, folder, self.has_store)
        try:
            while any(self.held(cell) < count for cell in self.cells):
                for cell in self.cells:
                    if self.held(cell) >= count or (time.monotonic() > until and self.held(cell)):
                        continue
                    await lane.start()
                    self.rounds.setdefault(cell, []).append(await hold_calls(lane, cell, min(calls, count)))
                    print(" | ".join(map(str, (*self.row(cell), *self.odd(cell)))), flush=True)
                if time.monotonic() > until:
                    break
        finally:
            await lane.stop()

    def held(self, cell: Cell) -> int:
        """Return how many calls there were."""
        return sum(len(each.outcomes) for each in self.rounds.get(cell, ()))

    def figures(self, cell: Cell) -> dict[str, Any]:
        """Return what was counted."""
        rounds = self.rounds[cell]
        outcomes = [each for found in rounds for each in found.outcomes]
        usual = self._usual()
        silences = [each.silence_ms for each in outcomes if each.silence_ms is not None]
        return {
            "calls": len(outcomes),
            "kills": len(rounds) if cell.victim else 0,
            "failed": sum(bool(each.error) for each in outcomes),
            "errors": sorted({each.error for each in outcomes if each.error}),
            "words lost": sum(each.words_lost for each in outcomes),
            "effects under a second key": sum(max(0, len(set(each.keys)) - len(each.outcomes)) for each in rounds),
            "effects missing": sum(max(0, len(each.outcomes) - len(set(each.keys))) for each in rounds),
            "repeated under their key": sum(len(each.keys) - len(set(each.keys)) for each in rounds),
            "wrong transcripts": sum(each.transcript != usual.transcript for each in outcomes),
            "wrong states": sum(each.state != usual.state for each in outcomes),
            "violations": [each for found in rounds for each in found.violations],
            "silence_ms": summary(silences) if silences else None,
            "transcripts": Counter(str(each.transcript) for each in outcomes).most_common(),
        }

    def odd(self, cell: Cell) -> list[str]:
        """Return what was unlike undisturbed calls in the last round."""
        usual = self._usual()
        outcomes = self.rounds[cell][-1].outcomes
        return [
            f"{each.error} {each.transcript}" for each in outcomes if each.error or each.transcript != usual.transcript
        ]

    def row(self, cell: Cell) -> list[object]:
        """Return the table's row."""
        found = self.figures(cell)
        silence = found["silence_ms"] or {"median": "", "p99": ""}
        return [
            self.name,
            f"{cell.victim} {cell.place}".strip(),
            f"{found['calls']} ({found['kills']})",
            *(found[each] for each in HEADER[3:9]),
            silence["median"],
            silence["p99"],
        ]

    def _usual(self) -> Outcome:
        """Return what most of the undisturbed calls were like."""
        outcomes = [each for found in self.rounds.get(Cell("", NOTHING), ()) for each in found.outcomes]
        if not outcomes:
            return Outcome(0, (), {}, None)
        kinds = [repr((each.transcript, each.state)) for each in outcomes]
        return outcomes[kinds.index(Counter(kinds).most_common(1)[0][0])]


def jobs_of(names: Sequence[str]) -> list[Job]:
    """Return the ways of these names, by default all with the controls."""
    jobs = []
    for way in WAYS:
        victims = ("worker", "vendor") if way.vendor else ("worker",)
        cells = (Cell("", NOTHING), *(Cell(victim, place) for victim in victims for place in (MID_SPEECH, EFFECT)))
        jobs.append(Job(way, cells))
    jobs.append(Job(FORGETFUL, (Cell("", NOTHING), Cell("worker", EFFECT))))
    jobs.append(Job(WAYS[0], (Cell("", NOTHING), Cell("worker", MID_SPEECH)), has_store=False))
    return [job for job in jobs if not names or job.name in names]


async def measure(jobs: Sequence[Job], count: int, calls: int, lanes: int, minutes: float) -> None:
    """Run the jobs, `lanes` at a time."""
    share_s = minutes * 60 * lanes / sum(len(job.cells) for job in jobs)
    waiting = list(enumerate(jobs))

    async def work(folder: Path) -> None:
        while waiting:
            number, job = waiting.pop(0)
            try:
                await job.run(folder / str(number), count, calls, time.monotonic() + share_s * len(job.cells))
            except Exception as error:  # one way that cannot be measured must not cost the figures of the others
                print(f"{job.name}: {type(error).__name__}: {error}", flush=True)

    with tempfile.TemporaryDirectory(prefix="agents-", ignore_cleanup_errors=True) as folder:
        await asyncio.gather(*(work(Path(folder)) for _ in range(lanes)))


def main() -> None:
    """Measure, save and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", metavar="way", help="names of ways; default: all, and the controls")
    parser.add_argument("--count", type=int, default=20, help="calls in each cell")
    parser.add_argument("--calls", type=int, default=5, help="calls that one kill meets")
    parser.add_argument("--lanes", type=int, default=2, help="ways at the same time")
    parser.add_argument("--minutes", type=float, default=20.0, help="cells are left at fewer calls after so long")
    parser.add_argument("--quick", action="store_true", help="one kill in each cell")
    asked = parser.parse_args()
    jobs = jobs_of(asked.ways)
    with suppress(KeyboardInterrupt):  # what was measured until then is saved
        asyncio.run(measure(jobs, asked.calls if asked.quick else asked.count, asked.calls, asked.lanes, asked.minutes))
    rows = [job.row(cell) for job in jobs for cell in job.rounds]
    document = [
        {"way": job.name, "killed": cell.victim, "place": cell.place, **job.figures(cell)}
        for job in jobs
        for cell in job.rounds
    ]
    title = f"Calls whose worker or vendor is killed, on loopback, {asked.calls} calls at a time"
    text = f"{title}\n\n{table(HEADER, rows)}"
    save("agents", {"cells": document}, text)


if __name__ == "__main__":
    main()

"""`python -m bench.hosts [kills] [controls] [blocked] [turns] [--count 20] [--cells 2]`; without a part, all of them.

`kills`: calls whose agent host is killed at each point of a turn. `controls`: the same where tools have no journal, and
where the worker keeps no frames for the next host. `blocked`: 50 calls beside one that blocks its host's event loop.
`turns`: the time that a host adds to a turn. Results are printed, a JSON document last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.hosts.cell import CONTROL_PROGRAM, PROGRAM, Cell
from bench.hosts.costs import blocked, turns
from bench.hosts.kills import WORDS, KillOutcome, hold_call
from bench.hosts.waiter import POINTS

PARTS = ("kills", "controls", "blocked", "turns")


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.hosts", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--count", type=int, default=20, help="kills at each point")
    parser.add_argument("--cells", type=int, default=2, help="workers with their hosts at the same time")
    parser.add_argument("--light", action="store_true", help="neither speech to text nor synthesis: for a busy machine")
    asked = parser.parse_args()
    if asked.light:
        os.environ["HOSTS_BENCH_LIGHT"] = "1"
    unknown = set(asked.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}")
    parts = asked.parts or PARTS
    results: dict[str, Any] = {}
    if "kills" in parts:
        results["kills"] = asyncio.run(_kills(POINTS, asked.count, asked.cells))
    if "controls" in parts:
        print("control: tools without a journal")
        results["no journal"] = asyncio.run(
            _kills(("after_effect",), asked.count, asked.cells, environ={"HOSTS_BENCH_CONTROL": "1"})
        )
        print("control: a worker that keeps nothing for the next host")
        results["no replay"] = asyncio.run(
            _kills(("in_utterance", "before_understood"), asked.count, asked.cells, program=CONTROL_PROGRAM)
        )
    if "blocked" in parts:
        results["blocked"] = asyncio.run(blocked())
    if "turns" in parts:
        results["turns"] = asyncio.run(turns())
    print(json.dumps(results))


async def _kills(
    points: Sequence[str],
    count: int,
    cells: int,
    *,
    program: Sequence[str] = PROGRAM,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    due = [point for point in points for _ in range(count)]
    outcomes: dict[str, list[KillOutcome | None]] = {point: [] for point in points}
    reported: dict[str, dict[str, Any]] = {}

    async def work(folder: Path) -> None:
        cell = Cell(
            folder, host_count=2 if "HOSTS_BENCH_LIGHT" in os.environ else 3, program=program, environ=environ or {}
        )
        try:
            await cell.start()
            while due:
                point = due.pop(0)
                try:
                    await cell.revive(ready=2)
                    outcomes[point].append(await hold_call(cell, point, WORDS[:1]))
                except Exception as error:  # a call that fails is an outcome; the other points are still measured
                    print(f"{point}: the call failed: {type(error).__name__}: {error}", flush=True)
                    outcomes[point].append(None)
                if len(outcomes[point]) == count:
                    reported[point] = _reported(point, outcomes[point])
        finally:
            await cell.stop()

    with tempfile.TemporaryDirectory(prefix="hosts-", ignore_cleanup_errors=True) as folder:
        await asyncio.gather(*(work(Path(folder) / str(number)) for number in range(cells)))
    return reported


def _reported(point: str, found: Sequence[KillOutcome | None]) -> dict[str, Any]:
    calls = [each for each in found if each is not None]
    killed = [each for each in calls if each.was_killed]
    gaps_ms = sorted(each.gap_ms for each in killed if each.gap_ms is not None)
    figures = {
        "calls": len(found),
        "failed": len(found) - len(calls),
        "killed": len(killed),
        "words lost": sum(each.words_lost for each in calls),
        "effects under a second key": sum(each.doubled for each in calls),
        "effects repeated under their key": sum(each.repeated for each in calls),
        "wrong states": sum(not each.is_state_right for each in calls),
        "wrong transcripts": sum(not each.is_transcript_right for each in calls),
        "gap ms median": round(statistics.median(gaps_ms), 1) if gaps_ms else None,
        "gap ms p99": round(percentile(gaps_ms, 0.99), 1) if gaps_ms else None,
    }
    print(f"{point}: " + ", ".join(f"{name} {value}" for name, value in figures.items()), flush=True)
    return figures


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which this share of the sorted values lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    main()

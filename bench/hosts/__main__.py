"""What calls lose when their agent host is killed, and how late calls are beside a host that stands still.

`kills`: calls whose agent host is killed at each of seven points of a turn, several calls at each kill. `controls`: the
same where tools have no journal, and where the worker keeps no frames for the next host; they must double effects and
lose words, else the exit status is 1. `blocked`: 50 calls beside one that blocks its host's event loop for 5 s. Speech
to text and synthesis are stand-ins, unless `--models` asks for the order agent's. `make bench-hosts`; its results are
`hosts.md` and `hosts.json`, written after each kill, and `--resume` goes on with those of the same commit.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from bench.figures import save, saved, table
from bench.hosts.blocked import blocked
from bench.hosts.points import HEADER, Setting, settings

NAME: Final = "hosts"
PARTS: Final = ("kills", "controls", "blocked")
BLOCKED_HEADER: Final = ("50 calls: a frame's way to the agent and back", "n", "median ms", "p99 ms", "max ms")


class Results:
    """Prints and saves what was measured, after each kill."""

    def __init__(self, measured: list[Setting], count: int) -> None:
        self.settings = measured
        self.blocked: dict[str, Any] = {}
        self._count = count
        self._began = time.monotonic()

    def on_kill(self, setting: Setting, point: str) -> None:
        """Print one line, and save all."""
        due = self._count * sum(len(each.points) for each in self.settings)
        held = sum(min(each.held(name), self._count) for each in self.settings for name in each.points)
        elapsed_s = time.monotonic() - self._began
        row = " | ".join(map(str, setting.row(point)))
        print(f"{elapsed_s:5.0f} s, {held} of {due} calls | {row}", flush=True)
        for error in setting.figures(point)["errors"]:
            print(f"    {error}", flush=True)
        self.save(is_shown=False)

    def save(self, *, is_shown: bool) -> None:
        """Write the results."""
        rows = [setting.row(point) for setting in self.settings for point in setting.kills]
        late = [
            [name, *(found[each] for each in ("n", "median", "p99", "max"))] for name, found in self.blocked.items()
        ]
        title = "Calls whose agent host is killed, on loopback; the gap is until the next host has the call"
        text = f"{title}\n\n{table(HEADER, rows)}\n\n{table(BLOCKED_HEADER, late)}"
        cells = [each for setting in self.settings for each in setting.documents()]
        save(NAME, {"cells": cells, "blocked": self.blocked}, text, is_shown=is_shown)


async def _measure(results: Results, count: int, calls: int) -> None:
    with tempfile.TemporaryDirectory(prefix="hosts-", ignore_cleanup_errors=True) as folder:
        for number, setting in enumerate(results.settings):
            await setting.run(Path(folder) / str(number), count, calls, results.on_kill)


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--count", type=int, default=20, help="calls at each point")
    parser.add_argument("--calls", type=int, default=10, help="calls that one kill meets")
    parser.add_argument("--models", action="store_true", help="the order agent's speech to text and synthesis")
    parser.add_argument("--quick", action="store_true", help="3 calls and one kill at each point, blocked for 2 s")
    parser.add_argument("--resume", action="store_true", help="keep what was measured at this commit")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    if asked.models:
        os.environ["HOSTS_BENCH_MODELS"] = "1"
    parts = asked.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}: one of {', '.join(PARTS)}")
    count, calls = (3, 3) if asked.quick else (asked.count, min(asked.calls, asked.count))
    results = Results([each for part, found in settings().items() if part in parts for each in found], count)
    if asked.resume:
        earlier = saved(NAME)
        results.blocked = earlier.get("blocked", {})
        for setting in results.settings:
            setting.restore(earlier.get("cells", ()))
    faults = ["it was interrupted"]
    with suppress(KeyboardInterrupt):  # what was measured until then is saved
        asyncio.run(_measure(results, count, calls))
        if "blocked" in parts and not results.blocked:
            results.blocked = asyncio.run(blocked(2.0 if asked.quick else 5.0))
        faults = [fault for setting in results.settings for fault in setting.faults()]
    results.save(is_shown=True)
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()

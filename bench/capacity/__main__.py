"""`make bench-capacity`: what a worker carries. AGAINST=REV compares it with another revision, QUICK=1 takes 5 minutes."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench.capacity import generator
from bench.capacity.measure import Spread
from bench.capacity.runs import Lab, alternate, ratios
from bench.capacity.servers.worker import ROOT, checkout, worker
from bench.capacity.traffic import CONVERSATION
from bench.figures import table
from bench.lb.machine import raise_file_limit

CACHE = ROOT / ".capacity"
"""What is built once: the generator, the peers, the trees of other revisions."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="REV", help="compare this tree with that revision, in alternating windows")
    parser.add_argument("--quick", action="store_true", help="short windows: enough to see that it works")
    parser.add_argument("--sessions", type=int, default=16)
    parser.add_argument("--pairs", type=int, help="pairs of windows of the comparison")
    arguments = parser.parse_args()
    raise_file_limit()
    CACHE.mkdir(exist_ok=True)
    program = generator.build(CACHE / "native")
    with tempfile.TemporaryDirectory(prefix="capacity-") as name:
        folder = Path(name)
        lab = Lab.of_this_machine(program, folder, is_quick=arguments.quick)
        pattern = CONVERSATION.write(folder / "conversation")
        servers = [worker(ROOT, "this tree", folder)]
        if arguments.against:
            revision, tree = checkout(arguments.against, CACHE / "revisions")
            servers.append(worker(tree, revision, folder))
        pairs = arguments.pairs or (2 if arguments.quick else 5)
        windows = alternate(lab, servers, pattern, arguments.sessions, pairs)
        rows = [
            [
                server.name,
                len(each),
                Spread.of([one.cpu_ms_per_session_s for one in each]).text(),
                Spread.of([one.callers.pong_ms.p99 for one in each]).text(1),
                f"{max(one.others for one in each):.0%}",
            ]
            for server, each in zip(servers, windows, strict=True)
        ]
        header = ["worker", "n", "CPU ms per session and second", "p99 of pongs, ms", "others on its core, most"]
        print(table(header, rows))
        if arguments.against:
            print(f"\nCPU of this tree by that of {servers[1].name}: {ratios(windows[0], windows[1]).text(3)}, {pairs} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())

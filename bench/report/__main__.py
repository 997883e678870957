"""Run the benchmarks that have no result of this commit, and write bench/results/report.md and report.html.

A benchmark that fails is named at the end, and the report is written of what is there. With --only-report nothing is
run. Results of benchmarks with commands of their own are in the report, too, where they have been run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import Final

from bench.figures import RESULTS, commit
from bench.report.claims import findings
from bench.report.pages import as_html, as_markdown, summary_line
from bench.report.plots import draw
from bench.report.results import Run, is_current, read_results, read_runs, write_runs

FULL: Final[dict[str, tuple[str, ...]]] = {
    "setup_time": (),
    "answering": (),
    "moving": (),
    "uplink": ("--seeds", "2"),
    "gaps": ("--count", "5"),
    "survival": ("--quick",),
    "lb": ("--quick",),
}
"""What each is run with: those that have an hour or more of their own are quick here."""
QUICK: Final[dict[str, tuple[str, ...]]] = {
    "setup_time": ("--quick",),
    "answering": ("--quick",),
    "moving": ("--quick",),
    "uplink": ("--seconds", "20", "--seeds", "1"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="those with peers alone, each of them quick")
    parser.add_argument("--only-report", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    asked = {} if arguments.only_report else QUICK if arguments.quick else FULL
    failed = run_missing(asked, is_quick=arguments.quick)
    results = read_results(RESULTS)
    present = commit()
    markdown = as_markdown(RESULTS, results, read_runs(RESULTS), present, draw(results, RESULTS))
    (RESULTS / "report.md").write_text(markdown)
    (RESULTS / "report.html").write_text(as_html(markdown))
    print(f"{summary_line(findings(results))}: {RESULTS / 'report.md'} and report.html")
    for name in failed:
        print(f"bench.{name} failed: the report has what was there before, if anything", file=sys.stderr)
    return 1 if failed else 0


def run_missing(asked: dict[str, tuple[str, ...]], *, is_quick: bool) -> list[str]:
    """Run each benchmark that is not current; returns those that failed."""
    present, runs, failed = commit(), read_runs(RESULTS), []
    for number, (name, options) in enumerate(asked.items(), 1):
        has_result = name in read_results(RESULTS)
        if is_current(runs.get(name), present, is_quick=is_quick, has_result=has_result):
            print(f"[{number} of {len(asked)}] {name}: has a result of this commit", flush=True)
            continue
        print(f"[{number} of {len(asked)}] {name}: runs", flush=True)
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-m", f"bench.{name}", *options], check=False)
        seconds = round(time.monotonic() - begun, 1)
        if done.returncode:
            failed.append(name)
            continue
        runs[name] = Run(present, is_quick, seconds)
        write_runs(RESULTS, runs)
        print(f"[{number} of {len(asked)}] {name}: {seconds:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())

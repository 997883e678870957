"""Run the benchmarks that have no result of this commit, and write bench/results/report.md and report.html.

A benchmark that fails is named at the end, and the report is written of what is there. With --only-report nothing is
run. Results of benchmarks with commands of their own are in the report, too, where they have been run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping

from bench.figures import RESULTS, commit
from bench.report.claims import findings
from bench.report.pages import as_html, as_markdown, summary_line
from bench.report.plan import PLAN, Amount, Bench, asked
from bench.report.plots import draw
from bench.report.results import Run, is_current, is_longer, read_results, read_runs, write_runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="those that say so in bench/report/plan.py, each of them quick"
    )
    parser.add_argument("--only-report", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    wanted = {} if arguments.only_report else asked(is_quick=arguments.quick)
    if arguments.quick and wanted:
        left_out = [each.name for each in PLAN if each not in wanted]
        print(f"left out by --quick, each has a command of its own: {', '.join(left_out)}", flush=True)
    failed = run_missing(wanted, is_quick=arguments.quick)
    results = read_results(RESULTS)
    present = commit()
    markdown = as_markdown(RESULTS, results, read_runs(RESULTS), present, draw(results, RESULTS))
    (RESULTS / "report.md").write_text(markdown)
    (RESULTS / "report.html").write_text(as_html(markdown))
    print(f"{summary_line(findings(results))}: {RESULTS / 'report.md'} and report.html")
    for name in failed:
        print(f"{name} failed: the report has what was there before, if anything", file=sys.stderr)
    return 1 if failed else 0


def run_missing(wanted: Mapping[Bench, Amount], *, is_quick: bool) -> list[str]:
    """Run each benchmark that is not current; returns those that failed. One whose tools are missing is left out."""
    present, runs, failed = commit(), read_runs(RESULTS), []
    for number, (bench, amount) in enumerate(wanted.items(), 1):
        name, place = bench.name, f"[{number} of {len(wanted)}]"
        document, run = read_results(RESULTS).get(name), runs.get(name)
        if is_current(run, present, is_quick=is_quick, has_result=document is not None):
            print(f"{place} {name}: has a result of this commit", flush=True)
            continue
        if is_longer(run, document, present, amount.options):
            print(f"{place} {name}: `make {bench.target}` left a longer one of this commit", flush=True)
            continue
        if missing := [tool for tool in bench.tools if shutil.which(tool) is None]:
            print(f"{place} {name}: left out, it needs {' and '.join(missing)}", flush=True)
            continue
        print(f"{place} {name}: runs, {amount.minutes} minutes", flush=True)
        begun = time.monotonic()
        environment = os.environ | dict(bench.environment)
        done = subprocess.run([sys.executable, "-m", bench.module, *amount.options], check=False, env=environment)
        seconds = round(time.monotonic() - begun, 1)
        if done.returncode:
            failed.append(bench.module)
            runs[name] = Run(f"{present}-failed", is_quick, seconds)
            write_runs(RESULTS, runs)
            continue
        runs[name] = Run(present, is_quick, seconds)
        write_runs(RESULTS, runs)
        print(f"{place} {name}: {seconds:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())

"""`make bench-scale`: what the system does at up to a million sessions; QUICK=1: a tenth of them, in a minute."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from unittest import SkipTest

from bench.capacity.generator import GeneratorError
from bench.capacity.lab import say
from bench.capacity.servers.server import ServerError
from bench.figures import RESULTS, save
from bench.scale.checks import comparison, live_worker, redis_store, simulated_calls
from bench.scale.checks.simulated_calls import Pattern
from bench.scale.inputs import ASSUMPTIONS, FIGURES, InputError, load_assumptions, load_figures
from bench.scale.report import plots
from bench.scale.report.tables import markdown
from bench.scale.study import study

PATTERNS = (Pattern(), Pattern(2.0, 1.5), Pattern(1.0, 7.0), Pattern(4.0, 12.0))
SEED = 1


def main() -> int:
    arguments = _arguments()
    try:
        figures, assumed = load_figures(arguments.figures), load_assumptions(arguments.assumptions)
        if arguments.measured:
            figures = figures.with_measured(arguments.measured)
    except (InputError, OSError) as error:
        print(f"bench.scale: {error}", file=sys.stderr)
        return 2
    quick, missing, measured = arguments.quick, list[str](), dict[str, object]()
    say("calls on simulated hosts")
    calls = [(each, simulated_calls.run(2 if quick else 6, 3, each, workers=3, seed=arguments.seed))
             for each in (PATTERNS[:2] if quick else PATTERNS)]  # fmt: skip
    checks = comparison.of_figures(figures) + comparison.of_queues(arguments.seed) + comparison.of_calls(calls)
    measured["calls"] = [asdict(found) | {"pattern": asdict(each)} for each, found in calls]
    kills = 3 if quick else 12
    gaps_ms = simulated_calls.kill_workers(kills, seed=arguments.seed)
    checks += comparison.of_kills(figures, assumed, gaps_ms, kills, arguments.seed)
    measured["gaps_ms"] = gaps_ms
    with _or_missing("saves in Redis", missing):
        say("saves in Redis")
        saves = redis_store.measure((5, 30, 120), 1000 if quick else 4000)
        measured["saves"] = [asdict(each) for each in saves]
        measured["fitted saves"] = comparison.fitted_saves(saves)
    if quick or arguments.without_worker:
        missing.append("a worker under load: left out by --quick or --without-worker")
    else:
        with _or_missing("a worker under load", missing):
            say("a worker under load")
            live = live_worker.measure((16, 64, 112), (0, 64, 112))
            measured["worker"] = asdict(live)
            if live.others > comparison.QUIET:
                missing.append(
                    f"a worker under load: others had up to {live.others:.0%} of its core; run it when quiet"
                )
            else:
                checks += comparison.of_worker(figures, live) + comparison.of_pair(figures, live)
    say("the study")
    answers = study(figures, assumed, comparison.fitted_record(), arguments.seed, is_quick=quick)
    document = {
        "seed": arguments.seed,
        "figures": {name: asdict(each) for name, each in figures.all.items()},
        "assumptions": assumed,
        "checks": [asdict(each) | {"error": each.error} for each in checks],
        "measured": measured,
        "not checked": missing,
        "study": asdict(answers),
    }
    save("scale", document, markdown(answers, figures, checks, missing))
    for path in plots.draw(answers, figures, arguments.plots or RESULTS / "scale"):
        say(f"wrote {path}")
    return 0 if all(each.holds for each in checks) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sessions, and no worker under load")
    parser.add_argument(
        "--without-worker", action="store_true", help="no worker under load, which wants a quiet machine"
    )
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all randomness; default {SEED}")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="measured figures, in TOML")
    parser.add_argument("--assumptions", type=Path, default=ASSUMPTIONS, help="what no command measures, in TOML")
    parser.add_argument("--measured", type=Path, metavar="PATH", help="a newer bench/results/capacity.json")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="where plots go; default bench/results/scale")
    return parser.parse_args()


@contextmanager
def _or_missing(name: str, missing: list[str]) -> Iterator[None]:
    """Go on without what this machine cannot measure, and keep the reason for the report."""
    try:
        yield
    except (GeneratorError, ServerError, SkipTest, RuntimeError) as error:
        say(f"{name}: {error}")
        missing.append(f"{name}: {error}")


if __name__ == "__main__":
    sys.exit(main())

"""The load balancer beside a C reference, nginx and Envoy, on loopback: `python -m bench.lb`.

All implementations balance one pool, one core each, in one run: capacity by kind of connection ID and datagram size,
round trips and losses at rest and under load, memory over many client addresses, and two processes. The results go to
bench/results/lb: results.json, report.md and plots. Needs Linux and a C compiler; what is not installed is left out
and named. The whole takes about half an hour.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from bench.figures import RESULTS
from bench.lb import measure, memory
from bench.lb.lb_testbed import LbTestbed
from bench.lb.machine import Spent, describe_machine, raise_file_limit, raise_priority
from bench.lb.peers.implementations import Implementation, NotReadyError, implementations, started
from bench.lb.process import end_at_sigterm
from bench.lb.report import plots
from bench.lb.report.markdown import markdown
from bench.lb.report.results import Results
from bench.lb.traffic.native import CompilerMissingError
from bench.lb.traffic.pool import Traffic

PARTS = ("throughput", "latency", "memory", "scaling")
STATELESS_ADDRESSES = 10_000_000
STATEFUL_ADDRESSES = 100_000
"""Past what nginx and Envoy can remember: each client takes a port and a file of theirs."""

_QUICK = measure.Effort(seconds=0.4, rounds=2, latency_seconds=0.4, latency_rounds=1)
_FULL = measure.Effort(seconds=1.0, rounds=5, latency_seconds=2.0, latency_rounds=3)
_SIZES = (200, 1200)
_MOST_MEMORY_RATE = 160_000.0
_NEW_CLIENTS_RATE = 5_000.0
_QUICK_MEMORY_S, _FULL_MEMORY_S = 4, 180


def main() -> None:
    """Run what was asked for and write the results, also if it is interrupted."""
    options = _parse()
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    raise_file_limit()
    raise_priority(is_realtime=options.realtime)
    end_at_sigterm()
    try:
        testbed = LbTestbed(folder / "work")
    except CompilerMissingError as error:
        sys.exit(str(error))
    results = Results(describe_machine(), options.quick, {}, {})
    chosen = list(_present(testbed, implementations(testbed.programs), options.only, results))
    begun, spent = time.monotonic(), Spent.now()
    try:
        _run(testbed, chosen, set(options.parts), results)
    finally:
        results.others_share = Spent.now().others_since(spent)
        (folder / "results.json").write_text(results.to_json())
        (folder / "report.md").write_text(markdown(results))
        plots.draw(results, folder)
    print(markdown(results))
    print(f"{time.monotonic() - begun:.0f} s; {folder}/report.md, results.json and plots")


def _run(testbed: LbTestbed, chosen: list[Implementation], parts: set[str], results: Results) -> None:
    effort = _QUICK if results.is_quick else _FULL
    for is_batched in (False, True):
        if parts & {"throughput", "latency", "memory"}:
            _say(f"capacity, {'batching' if is_batched else 'plain'} backends")
            # Under load, later parts need to know what each can bear.
            kinds = _kinds(results.is_quick, is_batched) if "throughput" in parts else [(Traffic.PLAINTEXT, 200)]
            results.throughput += measure.throughput(testbed, chosen, kinds, is_batched=is_batched, effort=effort)
        if "latency" in parts:
            _say(f"latency, {'batching' if is_batched else 'plain'} backends")
            capacity = _capacity(results, is_batched)
            results.latency += measure.latency(testbed, chosen, capacity, is_batched=is_batched, effort=effort)
    if "memory" in parts:
        for implementation in chosen:
            _say(f"memory, {implementation.name}")
            results.memory.append(_remember(testbed, implementation, results))
    if "scaling" in parts:
        _say("two processes")
        results.scaling = measure.scaling(
            testbed, [implementation for implementation in chosen if implementation.is_scalable], effort
        )


def _remember(testbed: LbTestbed, implementation: Implementation, results: Results) -> memory.MemoryRun:
    """As many addresses as time allows, at a rate that the implementation bears well: a round trip is two datagrams."""
    most = STATELESS_ADDRESSES if implementation.reads_cids else STATEFUL_ADDRESSES
    bearable = _MOST_MEMORY_RATE if implementation.reads_cids else _NEW_CLIENTS_RATE
    rate = min(bearable, 0.3 * _capacity(results, True)[implementation.name])
    limit_s = _QUICK_MEMORY_S if results.is_quick else _FULL_MEMORY_S
    return memory.remember(testbed, implementation, int(min(most, rate * limit_s)), rate)


def _present(
    testbed: LbTestbed, everyone: Iterable[Implementation], only: list[str], results: Results
) -> Iterable[Implementation]:
    """Those that are installed and pass on a datagram; the others are noted."""
    for implementation in everyone:
        if only and not any(part.lower() in implementation.name.lower() for part in only):
            continue
        if implementation.missing is not None:
            results.missing[implementation.name] = implementation.missing
            continue
        try:
            trial = started(implementation, testbed.pool(), testbed.folder / "trial", testbed.cores.implementation)
            with testbed.backends(is_batched=False), trial:
                pass
        except NotReadyError as error:
            results.missing[implementation.name] = str(error)
            continue
        results.versions[implementation.name] = implementation.version
        yield implementation


def _kinds(is_quick: bool, is_batched: bool) -> list[tuple[Traffic, int]]:
    kinds = [(traffic, size) for size in _SIZES for traffic in Traffic]
    if is_quick:
        return kinds[: len(Traffic) + 1] if is_batched else kinds[:1]
    return kinds


def _capacity(results: Results, is_batched: bool) -> dict[str, float]:
    points = [p for p in results.throughput if (p.traffic, p.size) == (Traffic.PLAINTEXT, 200)]
    return {p.implementation: p.datagrams_per_s or 0.0 for p in points if p.backends_batch == is_batched}


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.lb", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under three minutes: short, one round, fewer kinds")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure; default: everything")
    parser.add_argument("--realtime", action="store_true", help="stop the machine's other work meanwhile; needs root")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="implementations whose name contains this"
    )
    default = RESULTS / "lb"
    parser.add_argument("--out", type=Path, default=default, help="where results go; default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    main()

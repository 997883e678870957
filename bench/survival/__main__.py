"""What a call loses when something dies: its words, its frames, and the longest gap in its audio.

Callers speak in real time through the load balancer, each over a link of its own of 25 ms each way; while they speak
one thing happens. The gap is the longest time around it in which no frame of a call arrived, as its worker saw it,
which is 20 ms where nothing happens; where the call goes on at another worker it is from the event until the first
frame arrives there. Frames lost are those never acked, words lost what the caller named and the order misses. Several
calls are held at once, and what happens to the cluster happens to all of them: `times` says how often it happened.
The control has no shared store: it must lose.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.survival import events
from bench.survival.calls import Event, Outcome, hold
from bench.survival.report import Result, read, write
from bench.survival.script import CountedWords, Script, SpokenOrder, SurvivalError
from deploy.local.cluster import Cluster, ClusterOptions
from testbed.redis_server import RedisMissing, RedisServer, redis_server

VICTIM = 0
WORKERS_UNDER_LOAD, CALLS_UNDER_LOAD = 4, 100


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what happens, to whom, in which kind of cluster."""

    name: str
    event: Event
    script: Script = SpokenOrder()  # noqa: RUF009 - it holds nothing
    options: ClusterOptions = ClusterOptions()  # noqa: RUF009 - frozen
    victim: int | None = None
    at_once: int = 10
    count: int | None = None
    """How many calls, where not as many as asked for."""
    is_control: bool = False


def rows(server: RedisServer) -> list[Row]:
    """Everything that happens; those in clusters that are alike follow each other."""
    in_redis = ClusterOptions(store=server.url)
    brief, long = CountedWords(5, 3.0, 2.0), CountedWords(10, 4.0, 2.0)
    load = CountedWords(8, 12.0, 3.0)
    echo = ClusterOptions(agent="echo", store=server.url)
    many = ClusterOptions(agent="echo", workers=WORKERS_UNDER_LOAD, store=server.url, drain_timeout_s=30.0)
    return [
        Row("nothing happens", events.NOTHING),
        Row("NAT rebinding", events.REBINDING),
        Row("active migration, hard switch", events.MIGRATION),
        Row("load balancer killed and restarted", events.BALANCER_KILL),
        Row("blackout of 2 s", events.blackout(2.0)),
        Row("blackout of 10 s", events.blackout(10.0)),
        Row("worker stalls for 1 s", events.worker_stall(VICTIM, 1.0), victim=VICTIM),
        Row("new address, new connection", events.NEW_ADDRESS),
        Row("new address, two calls at a time", events.NEW_ADDRESS, brief, ClusterOptions(agent="echo"), at_once=2),
        Row("worker killed, SQLite", events.worker_kill(VICTIM), victim=VICTIM),
        Row("worker drained", events.drain(VICTIM), victim=VICTIM),
        Row("worker killed, Redis", events.worker_kill(VICTIM), options=in_redis, victim=VICTIM),
        Row("one of 2 load balancer processes killed", events.FORWARDING_PROCESS_KILL, options=_two_processes()),
        Row("Redis restarted", events.redis_away(server, 0.0), brief, echo, at_once=25),
        Row("Redis away for 30 s", events.redis_away(server, 30.0), long, echo, at_once=50),
        Row(
            f"rolling restart of {WORKERS_UNDER_LOAD} workers",
            events.rolling_restart(WORKERS_UNDER_LOAD),
            load,
            many,
            at_once=CALLS_UNDER_LOAD,
            count=CALLS_UNDER_LOAD,
        ),
        Row(
            "control: worker killed, no store",
            events.worker_kill(VICTIM),
            options=ClusterOptions(store="memory://"),
            victim=VICTIM,
            is_control=True,
        ),
    ]


def _two_processes() -> ClusterOptions:
    return ClusterOptions(balancer_processes=2)


def clusters_of(chosen: Sequence[Row]) -> list[ClusterOptions]:
    """Return each cluster that the rows need once, in their order."""
    distinct: list[ClusterOptions] = []
    for row in chosen:
        if row.options not in distinct:  # they hold mappings, and have no hash
            distinct.append(row.options)
    return distinct


async def measure(count: int, at_once: int, pattern: str) -> bool:
    """Run the rows whose names hold `pattern`; return whether each was as it must be.

    What was measured is written after each row. Rows that are left out keep what an earlier run has found.
    """
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder), "everysec") as server:
        names = [row.name for row in rows(server)]
        chosen = [row for row in rows(server) if pattern in row.name]
        if not chosen:
            raise SurvivalError(f"no event is called {pattern!r}")
        former = {} if len(chosen) == len(names) else {each.name: each for each in read()}
        for options in clusters_of(chosen):
            async with Cluster(options) as cluster:
                await cluster.until_healthy()
                for row in (row for row in chosen if row.options == options):
                    result = await _run(cluster, row, count, at_once)
                    results.append(result)
                    if not result.is_as_it_must_be:
                        print(f"{row.name}: the logs are kept in {cluster.keep_logs()}", file=sys.stderr)
                    known = former | {each.name: each for each in results}
                    write([known[name] for name in names if name in known])
    faults = {each.fault for result in results if not result.is_control for each in result.outcomes if each.fault}
    for fault in sorted(faults):
        print(f"a call ended with: {fault}", file=sys.stderr)
    return all(result.is_as_it_must_be for result in results)


async def _run(cluster: Cluster, row: Row, count: int, at_once: int) -> Result:
    outcomes: list[Outcome] = []
    times = 0
    wanted = count if row.count is None else min(row.count, 10 * count)
    at_once = min(row.at_once, at_once) if row.count is None else row.at_once
    while len(outcomes) < wanted:
        outcomes += await hold(cluster, row.script, row.event, min(at_once, wanted - len(outcomes)), row.victim)
        times += 1
    return Result(row.name, times, row.is_control, row.event.is_way_open, outcomes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50, help="calls for each event")
    parser.add_argument("--at-once", type=int, default=50, help="at most so many calls are held at once")
    parser.add_argument("--only", default="", metavar="TEXT", help="only events whose names hold this")
    parser.add_argument("--quick", action="store_true", help="4 calls for each event, in some five minutes")
    arguments = parser.parse_args()
    try:
        is_good = asyncio.run(measure(4 if arguments.quick else arguments.count, arguments.at_once, arguments.only))
    except (SurvivalError, RedisMissing) as error:
        raise SystemExit(str(error)) from None
    if not is_good:
        raise SystemExit("a call lost something that it must not lose, or the control lost nothing")


if __name__ == "__main__":
    main()

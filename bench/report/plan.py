"""Every benchmark of the project: its command, how long it may take, and whether `make bench` runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BUDGET_MINUTES: Final = 40
"""All that `make bench` runs, together, on two cores."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What a benchmark is run with by `make bench`, and the minutes that it may take."""

    minutes: int
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bench:
    """A benchmark and the name of its result, which with `_` for `-` is its module's, too.

    `full` and `quick` are what `make bench` and `make bench QUICK=1` run of it; `None` leaves it out.
    `minutes` is how long its own command takes. `pictures` are patterns of files beside the report.
    """

    name: str
    target: str
    title: str
    minutes: int
    full: Amount | None = None
    quick: Amount | None = None
    tools: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def module(self) -> str:
        return f"bench.{self.name.replace('-', '_')}"


PLAN: Final = (
    Bench("setup_time", "bench-setup", "Set-up of a call", 7, Amount(7), Amount(1, ("--quick",))),
    Bench(
        "answering",
        "bench-answering",
        "Answers in an outage",
        6,
        Amount(4, ("--answers", "2")),
        Amount(2, ("--quick",)),
    ),
    Bench(
        "moving",
        "bench-moving",
        "Changes of the caller's address",
        8,
        Amount(4, ("--calls", "2")),
        Amount(2, ("--quick",)),
    ),
    Bench(
        "uplink",
        "bench-uplink",
        "Uplink over poor links",
        20,
        Amount(5, ("--seconds", "30", "--seeds", "1")),
        Amount(1, ("--seconds", "10", "--seeds", "1", "--no-browser")),
    ),
    Bench("gaps", "bench-gaps", "Gaps", 10),
    Bench(
        "survival",
        "bench-survival",
        "Calls whose parts are killed",
        30,
        Amount(5, ("--quick",)),
        pictures=("survival.png",),
    ),
    Bench("lb", "bench-lb", "The load balancer beside others", 30, Amount(3, ("--quick",)), pictures=("lb/*.png",)),
    Bench("lb-faults", "bench-lb-faults", "Faults of the load balancer", 3, Amount(2, ("--seconds", "4"))),
    Bench("routing", "bench-routing", "Calls through the load balancer, beside a routing map in Redis", 3, Amount(3)),
    Bench(
        "capacity",
        "bench-capacity",
        "What a worker carries, beside other servers",
        29,
        Amount(6, ("--quick",)),
        tools=("cargo",),
    ),
    Bench(
        "audio",
        "bench-audio",
        "Rate conversion",
        1,
        Amount(1),
        pictures=("audio-*.png",),
        environment=(("OPENBLAS_NUM_THREADS", "1"),),
    ),
    Bench("league", "bench-league", "The league table", 40),
    Bench("pipelines", "bench-pipelines", "One Pipecat pipeline behind three transports", 15),
    Bench("agents", "bench-agents", "Workers, hosts and vendors killed, by way to bring an agent", 40),
    Bench("hosts", "bench-hosts", "Agent hosts killed", 10),
    Bench("turns", "bench-turns", "Time added to a turn", 20),
    Bench("words", "bench-words", "Words understood when audio is lost", 5),
    Bench("recording", "bench-recording", "Recordings beside the truth", 15),
    Bench("rollout", "bench-rollout", "A rolling update under calls", 6),
    Bench("box", "bench-up", "One machine: worker killed, reload, upgrade", 10),
    Bench("soak", "bench-soak", "Memory over time", 30, pictures=("soak.png",)),
    Bench("attacks", "bench-attacks", "Hostile callers", 10),
    Bench("scale", "bench-scale", "The model of a million sessions, checked", 5, pictures=("scale/*.png",)),
)


def asked(*, is_quick: bool) -> dict[Bench, Amount]:
    """What `make bench` runs, in order."""
    amounts = {each: each.quick if is_quick else each.full for each in PLAN}
    return {each: amount for each, amount in amounts.items() if amount is not None}

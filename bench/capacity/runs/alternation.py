"""Several servers in alternating windows, and what their figures are to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.capacity.lab import Lab, say
from bench.capacity.measure import Spread, Window
from bench.capacity.runs.handshakes import AT_ONCE, Handshaking
from bench.capacity.servers.server import Server


def alternate(lab: Lab, kinds: Sequence[Server], pattern: Path, sessions: int) -> list[list[Window]]:
    """Measure servers in turn, all of them up all the time, in an order that is reversed each round (ABBA).

    Returns the windows of each server, in the order of `kinds`. A machine that gets slower meanwhile does so for all.
    """
    windows: list[list[Window]] = [[] for _ in kinds]
    with ExitStack() as stack:
        pids = [stack.enter_context(lab.serving(each)) for each in kinds]
        for which in abba(len(kinds), lab.rounds):
            measured = lab.measure(kinds[which], pids[which], pattern, sessions)
            windows[which].append(measured)
            say(
                f"{kinds[which].name}: {measured.cpu_ms_per_session_s:.2f} ms per session and second, "
                f"others on its core {measured.others:.0%}"
            )
    return windows


def alternate_handshakes(lab: Lab, kinds: Sequence[Server], pattern: Path) -> list[list[Handshaking]]:
    """As `alternate`, of connections that are opened and closed."""
    found: list[list[Handshaking]] = [[] for _ in kinds]
    with ExitStack() as stack:
        pids = [stack.enter_context(lab.serving(each)) for each in kinds]
        generators = [stack.enter_context(lab.calling(each, pattern)) for each in kinds]
        for generator in generators:
            generator.handshakes(AT_ONCE, lab.handshakes_s)  # the first ones make a worker load and grow
        for which in abba(len(kinds), lab.rounds):
            measured = Handshaking.measure(generators[which], pids[which], lab.handshakes_s)
            found[which].append(measured)
            say(f"{kinds[which].name}: {measured.per_core_s:.0f} handshakes a core")
    return found


def abba(count: int, rounds: int) -> Iterator[int]:
    """Indices of so many servers, in an order that is reversed each round."""
    for index in range(rounds):
        yield from range(count) if index % 2 == 0 else reversed(range(count))


def ratios(new: Sequence[Window], old: Sequence[Window]) -> Spread:
    """CPU per session of the new by that of the old, window by window of one round."""
    return Spread.of([n.cpu_ms_per_session_s / o.cpu_ms_per_session_s for n, o in zip(new, old, strict=True)])

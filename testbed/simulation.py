"""Runs one scenario: a loop, a network, a seed; what fails is reported with what replays it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from testbed.determinism import deterministic
from testbed.errors import LeakError
from testbed.simnet.loop import VirtualLoop
from testbed.simnet.network import Network
from testbed.simnet.networked_loop import NetworkedLoop
from testbed.trace import Trace

T = TypeVar("T")
WALL_EPOCH_S: Final = 1_790_000_000.0
TRACE_LINES_SHOWN: Final = 60


class Simulation:
    """What a scenario works with."""

    def __init__(self, seed: int, limit_s: float) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.trace = Trace()
        self.loop = NetworkedLoop(limit_s=limit_s)
        self.network = Network(self.loop, random.Random(self.rng.getrandbits(64)), self.trace)

    def now(self) -> float:
        """Loop time."""
        return self.loop.time()


def simulate(
    scenario: Callable[[Simulation], Awaitable[T]],
    *,
    seed: int,
    limit_s: float = 120.0,
    wall_epoch_s: float = WALL_EPOCH_S,
) -> tuple[T, Simulation]:
    """Run `scenario` to its end and return its result and the simulation, to look at its trace.

    Raises what the scenario and its callbacks raise, `DeadlockError`, `OutOfTimeError` past `limit_s` of virtual time,
    and `LeakError` for what was left behind; each carries the end of the trace and the command that replays it.
    """
    sim = Simulation(seed, limit_s)
    faults: list[dict[str, Any]] = []
    sim.loop.set_exception_handler(lambda _loop, context: faults.append(context))
    try:
        with deterministic(sim.loop, random.Random(sim.rng.getrandbits(64)), wall_epoch_s):
            try:
                result = sim.loop.run_until_complete(_run(sim, scenario))
                _raise_first(faults)
            finally:
                _clean_up(sim.loop)
    except BaseException as error:
        error.add_note(_replay_note(sim))
        raise
    return result, sim


def seeds(count: int) -> list[int]:
    """Seeds to parametrise a test with: 1 to `count`, or only that of the environment's SIM_SEED."""
    replayed = os.environ.get("SIM_SEED")
    return [int(replayed)] if replayed else list(range(1, count + 1))


async def _run(sim: Simulation, scenario: Callable[[Simulation], Awaitable[T]]) -> T:
    result = await scenario(sim)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if tasks := sim.loop.live_tasks():
        raise LeakError(f"the scenario left tasks behind\n{sim.loop.describe_tasks(tasks)}")
    ports = [f"{host.name} {port.address}" for host in sim.network.hosts.values() for port in host.open_ports()]
    if ports:
        raise LeakError(f"the scenario left sockets open: {', '.join(ports)}")
    return result


def _raise_first(faults: list[dict[str, Any]]) -> None:
    for fault in faults:
        error = fault.get("exception")
        if isinstance(error, BaseException):
            error.add_note(f"raised in a callback: {fault['message']}")
            raise error
        raise AssertionError(f"the loop reported: {fault}")


def _clean_up(loop: VirtualLoop) -> None:
    """Cancel what is left, with all killed processes released, so that no coroutine outlives its loop."""
    loop.bury()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=60))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _replay_note(sim: Simulation) -> str:
    test = os.environ.get("PYTEST_CURRENT_TEST", "tests/sim").split(" ")[0].split("[")[0]
    return (
        f"replay: SIM_SEED={sim.seed} pytest {test}\n"
        f"the last of {sum(sim.trace.counts.values())} events {sim.trace.counts}:\n{sim.trace.tail(TRACE_LINES_SHOWN)}"
    )

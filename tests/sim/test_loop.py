"""The loop itself: virtual time is exact, deadlocks and leaks are found, a killed process never runs again."""

from __future__ import annotations

import asyncio
import time

import pytest

from testbed.errors import DeadlockError, LeakError, NotSimulatedError, OutOfTimeError
from testbed.simnet.links import Profile
from testbed.simulation import Simulation, simulate


def test_an_hour_of_sleep_takes_no_time_and_ends_at_the_exact_instant() -> None:
    began = time.perf_counter()

    async def scenario(sim: Simulation) -> float:
        start = sim.now()
        await asyncio.sleep(3_600)
        return sim.now() - start

    slept, _ = simulate(scenario, seed=1, limit_s=4_000)
    assert slept == 3_600
    assert time.perf_counter() - began < 60, "an hour was slept for real"


def test_timers_fire_in_the_order_of_their_instants() -> None:
    async def scenario(sim: Simulation) -> list[tuple[float, int]]:
        fired: list[tuple[float, int]] = []
        start = sim.now()
        for delay in (3, 1, 2):
            sim.loop.call_later(delay, lambda delay: fired.append((sim.now() - start, delay)), delay)
        await asyncio.sleep(5)
        return fired

    assert simulate(scenario, seed=1)[0] == [(1, 1), (2, 2), (3, 3)]


def test_waiting_for_nothing_is_a_deadlock_that_names_the_waiting_line() -> None:
    async def scenario(sim: Simulation) -> None:
        await sim.loop.create_future()

    with pytest.raises(DeadlockError, match=r"no timer is set at 0\.000000 s\n.*scenario at .*test_loop.py"):
        simulate(scenario, seed=1)


def test_a_scenario_that_only_keeps_timers_going_runs_out_of_time() -> None:
    async def scenario(sim: Simulation) -> None:
        while True:  # noqa: ASYNC110 - it is not waiting for anything
            await asyncio.sleep(1)

    with pytest.raises(OutOfTimeError, match=r"still running at 11\.0+ s"):
        simulate(scenario, seed=1, limit_s=10.5)


def test_a_task_left_behind_is_a_leak() -> None:
    async def scenario(sim: Simulation) -> None:
        sim.loop.create_task(asyncio.sleep(60), name="forgotten")

    with pytest.raises(LeakError, match="forgotten: sleep at"):
        simulate(scenario, seed=1)


def test_a_socket_left_open_is_a_leak() -> None:
    async def scenario(sim: Simulation) -> None:
        host = sim.network.host("box", "10.0.0.1", up=Profile())
        await host.run(sim.loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("10.0.0.1", 53)))

    with pytest.raises(LeakError, match=r"box 10\.0\.0\.1:53"):
        simulate(scenario, seed=1)


def test_an_exception_in_a_callback_fails_the_scenario() -> None:
    async def scenario(sim: Simulation) -> None:
        sim.loop.call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        simulate(scenario, seed=1)


def test_a_failure_carries_the_command_that_replays_it_and_the_trace() -> None:
    async def scenario(sim: Simulation) -> None:
        sim.network.note("remark", "just before the end")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as caught:
        simulate(scenario, seed=77)
    (note,) = caught.value.__notes__
    assert "replay: SIM_SEED=77 pytest tests/sim/test_loop.py::test_a_failure_carries" in note
    assert "just before the end" in note


def test_executors_run_inline() -> None:
    async def scenario(sim: Simulation) -> tuple[int, int]:
        return await asyncio.to_thread(sum, [1, 2]), await sim.loop.run_in_executor(None, len, "abcd")

    assert simulate(scenario, seed=1)[0] == (3, 4)


def test_an_exception_in_an_executor_reaches_whoever_awaits_it() -> None:
    async def scenario(sim: Simulation) -> None:
        await asyncio.to_thread(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        simulate(scenario, seed=1)


@pytest.mark.parametrize("blocking", [lambda: time.sleep(1), lambda: __import__("socket").socket().close()])
def test_what_would_leave_the_simulation_is_refused(blocking: object) -> None:
    async def scenario(sim: Simulation) -> None:
        blocking()  # type: ignore[operator]

    with pytest.raises(NotSimulatedError):
        simulate(scenario, seed=1)


def test_every_clock_is_the_loops() -> None:
    async def scenario(sim: Simulation) -> tuple[float, float, float]:
        before = time.time(), time.monotonic(), sim.now()
        await asyncio.sleep(12.5)
        return time.time() - before[0], time.monotonic() - before[1], sim.now() - before[2]

    assert simulate(scenario, seed=1)[0] == (12.5, 12.5, 12.5)


def test_clocks_and_sockets_are_the_real_ones_again_afterwards() -> None:
    import socket

    async def scenario(sim: Simulation) -> None:
        raise ValueError

    real = time.time, time.sleep, socket.socket
    with pytest.raises(ValueError):  # noqa: PT011 - any will do
        simulate(scenario, seed=1)
    assert (time.time, time.sleep, socket.socket) == real


def test_a_killed_process_never_runs_again_not_even_its_finally() -> None:
    async def scenario(sim: Simulation) -> list[str]:
        lines: list[str] = []
        elsewhere = sim.loop.create_future()

        async def ticking() -> None:
            try:
                while True:
                    lines.append("tick")
                    await asyncio.sleep(1)
            finally:
                lines.append("finally")

        async def waiting() -> None:
            await elsewhere
            lines.append("woken")

        host = sim.network.host("box", "10.0.0.1", up=Profile())
        host.run(ticking())
        host.run(waiting())
        await asyncio.sleep(2.5)
        host.kill()
        elsewhere.set_result(None)
        await asyncio.sleep(10)
        return list(lines)

    assert simulate(scenario, seed=1)[0] == ["tick", "tick", "tick"]

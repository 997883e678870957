"""A path whose round trip is longer than the silence after which a connection counts as lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from testbed.calls.simulated_cluster import HOME_LINK, Plan, SimulatedCluster
from testbed.simulation import Simulation, simulate
from voice_client import Interrupted
from voice_gateway.agent.loading import load_agent
from voice_gateway.certificates.development import DevelopmentCertificate

pytestmark = pytest.mark.usefixtures("both_ways")

PAUSES_S = (0.0, 3.0, 3.0)
SECOND_OF_FRAMES = (bytes(640),) * 50
OUTAGE_S = 10.0


def interruptions(certificate: DevelopmentCertificate, round_trip_s: float, outage_s: float = 0.0) -> list[float]:
    """When a caller who speaks, pauses and speaks again took the connection for lost, in s from the outage on."""

    async def scenario(sim: Simulation) -> list[float]:
        access = replace(HOME_LINK, delay_s=round_trip_s / 2)
        cluster = SimulatedCluster(sim, certificate, lambda name: load_agent("echo"), Plan(access=access))
        await cluster.start()

        async def call() -> list[float]:
            found: list[float] = []
            async with cluster.client(codec="opus", has_playback=False) as client:

                async def note() -> None:
                    async for event in client.events():
                        if isinstance(event, Interrupted):
                            found.append(sim.now())

                noting = asyncio.create_task(note())
                for pause_s in PAUSES_S:
                    await asyncio.sleep(pause_s)
                    for frame in SECOND_OF_FRAMES:
                        client.send_pcm(frame)
                        await asyncio.sleep(0.02)
                began_at = sim.now()
                if outage_s:
                    cluster.caller.link.black_out(began_at, began_at + outage_s)
                    await asyncio.sleep(outage_s)
                await client.finish()
                noting.cancel()
            return [at - began_at for at in found]

        try:
            return await cluster.caller.run(call())
        finally:
            await cluster.stop()

    return simulate(scenario, seed=1)[0]


@pytest.mark.parametrize("round_trip_s", [0.05, 0.8, 1.2, 2.0])
def test_no_answer_within_less_than_a_round_trip_is_no_loss(
    certificate: DevelopmentCertificate, round_trip_s: float
) -> None:
    assert interruptions(certificate, round_trip_s) == []


@pytest.mark.parametrize(("round_trip_s", "within_s"), [(0.05, 1.0), (1.2, 3.5)])
def test_a_path_that_ends_is_found_however_long_it_was(
    certificate: DevelopmentCertificate, round_trip_s: float, within_s: float
) -> None:
    found = interruptions(certificate, round_trip_s, OUTAGE_S)
    assert len(found) == 1
    assert 0.5 < found[0] < within_s

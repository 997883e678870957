"""Whole calls whose uplink travels in datagrams, under every network fault."""

from __future__ import annotations

import asyncio
import random

import pytest

from bench.uplink.conditions import CONDITIONS
from bench.uplink.simulated import place_call as place_measured_call
from testbed.calls.network_faults import nothing
from testbed.calls.simulated_cluster import MOBILE, Plan, SimulatedCluster
from testbed.simnet.links import Burst, Profile
from testbed.simulation import seeds, simulate
from tests.sim.test_calls import KINDS, assert_is_whole, place_call
from voice_client import VoiceClient
from voice_gateway.certificates.development import DevelopmentCertificate

pytestmark = pytest.mark.usefixtures("order_agent_models", "both_ways")


@pytest.mark.parametrize("seed", seeds(12))
def test_a_hybrid_call_comes_through_whole(certificate: DevelopmentCertificate, seed: int) -> None:
    name, profile, fault = KINDS[seed % len(KINDS)]
    outcome = simulate(
        lambda sim: place_call(sim, certificate, Plan(access=profile(sim.rng)), fault, uplink="hybrid"), seed=seed
    )[0]
    assert_is_whole(outcome)
    assert outcome.report.uplink == "hybrid", name


@pytest.mark.parametrize("uplink", ["hybrid", "reliable"])
@pytest.mark.parametrize("seed", seeds(2))
def test_the_agent_hears_every_sample_that_was_said_though_bursts_are_lost(
    certificate: DevelopmentCertificate, seed: int, uplink: str
) -> None:
    """5 % of the datagrams are lost both ways, five in a row: 100 ms of speech, were they not sent again."""
    access = Profile(delay_s=0.050, jitter_s=0.030, burst=Burst(enter=0.0105, length=5))
    outcome, sim = simulate(
        lambda sim: place_call(sim, certificate, Plan(access=access), nothing, uplink=uplink), seed=seed
    )
    assert sim.trace.counts["lost"] >= 10
    assert_is_whole(outcome)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_hybrid_call_over_64_kbit_s_is_about_as_late_as_one_stream(seed: int) -> None:
    """There each frame has room once: repeats filled the queue of 2 s."""
    narrow = next(each for each in CONDITIONS if each.name == "64 kbit/s")
    hybrid, stream = (place_measured_call(narrow, mode, seed, 10.0) for mode in ("hybrid", "one stream"))
    assert hybrid.delivered_percent == stream.delivered_percent == 100
    assert hybrid.late_by(50) < stream.late_by(50) + 60
    assert hybrid.late_by(100) < 500


@pytest.mark.parametrize("seed", seeds(2))
def test_a_caller_who_moves_to_a_longer_path_goes_on_repeating(certificate: DevelopmentCertificate, seed: int) -> None:
    """The round trip grows from 40 to 140 ms, which is no queue."""
    allowed: list[int] = []

    async def move(cluster: SimulatedCluster, call: VoiceClient, rng: random.Random) -> None:
        await asyncio.sleep(3.0)
        cluster.caller.link.change(Profile(delay_s=0.070, loss=0.02))
        await cluster.caller.run(call.migrate(MOBILE))
        for _ in range(20):
            link = call._call.link
            assert link is not None
            assert link.uplink is not None
            assert link.uplink.sender is not None
            allowed.append(link.uplink.sender.redundancy.limit.repeats)
            await asyncio.sleep(0.1)

    plan = Plan(access=Profile(delay_s=0.020, loss=0.02))
    outcome = simulate(lambda sim: place_call(sim, certificate, plan, move, uplink="hybrid"), seed=seed)[0]
    assert_is_whole(outcome)
    assert len(allowed) == 20
    assert min(allowed) >= 1

"""The cluster as a whole: what a load balancer that cannot route loses, ECMP, idle callers, and workers that leave."""

from __future__ import annotations

import asyncio
import random

import pytest

from testbed.calls import network_faults
from testbed.calls.agents import noting_order_agent
from testbed.calls.simulated_cluster import Plan, SimulatedCluster
from testbed.simulation import Simulation, seeds, simulate
from tests.sim.test_calls import RECORDING, Outcome, assert_is_whole, place_call
from voice_client import CallLost, ClientError, ServerDrained, VoiceClient
from voice_gateway.certificates.development import DevelopmentCertificate

pytestmark = pytest.mark.usefixtures("order_agent_models", "both_ways")


async def _moved(cluster: SimulatedCluster, call: VoiceClient, rng: random.Random) -> None:
    """One new port and one new address, as a NAT and a roaming caller get."""
    await asyncio.sleep(rng.uniform(0.5, 2.0))
    cluster.nat.rebind()
    await asyncio.sleep(rng.uniform(0.5, 2.0))
    cluster.sim.network.route("198.51.100.9", cluster.nat)
    cluster.nat.rebind(address="198.51.100.9")


def _is_lost(certificate: DevelopmentCertificate, seed: int, *, has_routable_cids: bool) -> bool:
    async def scenario(sim: Simulation) -> Outcome | None:
        try:
            plan = Plan(has_routable_cids=has_routable_cids, has_shared_store=False)
            return await place_call(sim, certificate, plan, _moved)
        except ClientError:
            return None

    outcome, _ = simulate(scenario, seed=seed)
    if outcome is not None:
        assert_is_whole(outcome)
    return outcome is None


def test_without_routable_connection_ids_callers_who_move_are_lost(certificate: DevelopmentCertificate) -> None:
    """The control: the same network and the same moves lose calls only where connection IDs carry no server ID."""
    lost_unroutable = [_is_lost(certificate, seed, has_routable_cids=False) for seed in seeds(6)]
    lost_routable = [_is_lost(certificate, seed, has_routable_cids=True) for seed in seeds(6)]
    assert not any(lost_routable)
    assert any(lost_unroutable)


async def _one_of_two_killed(cluster: SimulatedCluster, call: VoiceClient, rng: random.Random) -> None:
    await asyncio.sleep(rng.uniform(0.5, 5.0))
    await network_faults.restart(cluster, cluster.balancer_hosts[1], rng.uniform(0.1, 0.5))


@pytest.mark.parametrize(
    "fault", [network_faults.nothing, network_faults.rebinding, network_faults.migration, _one_of_two_killed]
)
@pytest.mark.parametrize("seed", seeds(2))
def test_load_balancers_that_share_a_call_packet_by_packet_lose_nothing(
    certificate: DevelopmentCertificate, fault: network_faults.NetworkFault, seed: int
) -> None:
    async def scenario(sim: Simulation) -> Outcome:
        plan = Plan(access=network_faults.lossy(sim.rng, worst=0.02), balancers=2)
        return await place_call(sim, certificate, plan, fault)

    outcome, sim = simulate(scenario, seed=seed)
    assert_is_whole(outcome)
    assert sim.trace.counts["received"] > 0


def _cluster(sim: Simulation, certificate: DevelopmentCertificate, plan: Plan | None = None) -> SimulatedCluster:
    return SimulatedCluster(sim, certificate, noting_order_agent, plan or Plan())


def _sessions(cluster: SimulatedCluster) -> int:
    return sum(worker.sessions.count for worker in cluster.workers.values())


def test_a_caller_who_vanishes_is_forgotten_after_the_idle_timeout(certificate: DevelopmentCertificate) -> None:
    async def scenario(sim: Simulation) -> tuple[int, int, int]:
        cluster = _cluster(sim, certificate, Plan(session=(("resume_window_s", 2),)))
        await cluster.start()

        async def call() -> None:
            async with cluster.client(has_playback=False) as client:
                await client.speak(RECORDING)

        cluster.caller.run(call())
        await asyncio.sleep(3)
        cluster.caller.kill()
        counts = [_sessions(cluster)]
        await asyncio.sleep(25)
        counts.append(_sessions(cluster))
        await asyncio.sleep(15)
        counts.append(_sessions(cluster))
        await cluster.stop()
        return counts[0], counts[1], counts[2]

    assert simulate(scenario, seed=1)[0] == (1, 1, 0)


def test_a_caller_whose_network_is_gone_for_good_is_told(certificate: DevelopmentCertificate) -> None:
    async def scenario(sim: Simulation) -> float:
        cluster = _cluster(sim, certificate)
        await cluster.start()
        began_at = sim.now()
        cluster.caller.link.black_out(began_at + 2, began_at + 1_000)

        async def call() -> None:
            async with cluster.client(codec="pcm16", has_playback=False) as client:
                await client.speak(RECORDING)
                await client.finish(timeout_s=100)

        with pytest.raises(CallLost):
            await cluster.caller.run(call())
        lost_after_s = sim.now() - began_at
        await asyncio.sleep(40)
        await cluster.stop()
        return lost_after_s

    assert 60 < simulate(scenario, seed=1, limit_s=300)[0] < 65


def test_a_call_ends_in_peace_on_a_worker_that_drains(certificate: DevelopmentCertificate) -> None:
    async def leaves(cluster: SimulatedCluster, call: VoiceClient, rng: random.Random) -> None:
        await asyncio.sleep(2)
        host = cluster.sim.network.hosts[str(call.worker)]
        await host.run(cluster.workers[host.name].stop(deadline_s=30))

    outcome, _ = simulate(lambda sim: place_call(sim, certificate, Plan(), leaves), seed=1)
    assert_is_whole(outcome)


def test_a_call_that_outstays_the_deadline_is_told_that_the_worker_left(certificate: DevelopmentCertificate) -> None:
    async def leaves(cluster: SimulatedCluster, call: VoiceClient, rng: random.Random) -> None:
        await asyncio.sleep(1)
        host = cluster.sim.network.hosts[str(call.worker)]
        await host.run(cluster.workers[host.name].stop(deadline_s=2))

    with pytest.raises(ServerDrained):
        simulate(lambda sim: place_call(sim, certificate, Plan(workers=1), leaves), seed=1)

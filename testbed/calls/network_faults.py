"""What befalls a call: the links it has, and what happens to its path on the way, drawn from one generator."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from testbed.calls.simulated_cluster import HOME, MOBILE, SimulatedCluster
from testbed.simnet.links import Profile
from testbed.simnet.network import Host
from voice_client import MigrationFailed, VoiceClient

SPEECH_S = 7.0
NetworkFault = Callable[[SimulatedCluster, VoiceClient, random.Random], Awaitable[None]]


def lossy(rng: random.Random, worst: float = 0.05) -> Profile:
    """A link that loses up to 5 % in each direction, somewhere between a good and a poor one in all else."""
    return Profile(
        delay_s=rng.uniform(0.005, 0.080),
        jitter_s=rng.uniform(0, 0.020),
        loss=rng.uniform(0, worst),
        max_payload_bytes=1_472,
    )


def reordering(rng: random.Random) -> Profile:
    """A link that also reorders and duplicates."""
    return replace(
        lossy(rng),
        reorder=rng.uniform(0.02, 0.15),
        reorder_s=rng.uniform(0.005, 0.060),
        duplicate=rng.uniform(0, 0.05),
    )


async def nothing(cluster: SimulatedCluster, call: VoiceClient, rng: random.Random) -> None:
    """The links are trouble enough."""


async def rebinding(cluster: SimulatedCluster, call: VoiceClient, rng: random.Random) -> None:
    """The translator forgets the caller, up to three times, and may get a new address."""
    async for number in _at_random_instants(rng, rng.randint(1, 3)):
        address = f"198.51.100.{rng.randint(2, 5)}" if rng.random() < 0.5 else None
        if address is not None:
            cluster.sim.network.route(address, cluster.nat)
        cluster.sim.network.note("rebinding", f"{number} {address or 'new ports'}")
        cluster.nat.rebind(address=address, keep_old=rng.random() < 0.3)


async def migration(cluster: SimulatedCluster, call: VoiceClient, rng: random.Random) -> None:
    """The caller goes from one network to the other, and perhaps back; the old one lasts a second, or is gone."""
    addresses = [MOBILE, HOME]
    async for number in _at_random_instants(rng, rng.randint(1, 2)):
        to, keep_old_s = addresses[number % 2], rng.choice([0.0, 1.0])
        cluster.sim.network.note("migrating", f"to {to}, old kept {keep_old_s} s")
        try:
            await cluster.caller.run(call.migrate(to, keep_old_s=keep_old_s))
        except MigrationFailed as error:
            cluster.sim.network.note("stayed", str(error))
            addresses.reverse()


async def balancer_killed(cluster: SimulatedCluster, call: VoiceClient, rng: random.Random) -> None:
    """SIGKILL to a load balancer, once or twice; another is started on its addresses up to a second later."""
    async for _ in _at_random_instants(rng, rng.randint(1, 2)):
        await restart(cluster, rng.choice(cluster.balancer_hosts), rng.uniform(0.02, 1.0))


async def everything(cluster: SimulatedCluster, call: VoiceClient, rng: random.Random) -> None:
    """All of it in one call."""
    await asyncio.gather(*(each(cluster, call, rng) for each in (rebinding, migration, balancer_killed)))


async def restart(cluster: SimulatedCluster, host: Host, down_s: float) -> None:
    """SIGKILL the load balancer of a host, and start its successor."""
    host.kill()
    await asyncio.sleep(down_s)
    await cluster.start_balancer(host)


async def _at_random_instants(rng: random.Random, count: int):  # type: ignore[no-untyped-def]
    """Count up, each number at its instant of a call that has just begun."""
    began_at = asyncio.get_running_loop().time()
    for number, instant in enumerate(sorted(rng.uniform(0.05, SPEECH_S) for _ in range(count))):
        await asyncio.sleep(max(0.0, began_at + instant - asyncio.get_running_loop().time()))
        yield number

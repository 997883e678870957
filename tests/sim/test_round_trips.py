"""How many round trips a resume takes, on a link of 50 ms where processing takes no time."""

from __future__ import annotations

import asyncio

import pytest

from testbed.calls.simulated_cluster import Plan, SimulatedCluster
from testbed.simulation import Simulation, simulate
from voice_client import CallLost, CredentialStore, Resumed
from voice_client.transport.link import Link
from voice_gateway.agent.loading import load_agent
from voice_gateway.certificates.development import DevelopmentCertificate

pytestmark = pytest.mark.usefixtures("both_ways")

LINK_ROUND_TRIP_S = 0.050
ALWAYS_RETRY = (("retry_after_half_open", 0),)


class Forgetful(CredentialStore):
    """Keeps nothing: every connection is the first."""

    def of(self, *server: object) -> object:  # type: ignore[override]
        return CredentialStore().of(*server)  # type: ignore[arg-type]


def round_trips(certificate: DevelopmentCertificate, plan: Plan, credentials: CredentialStore) -> tuple[float, int]:
    """From the loss of a call's connection to `ready` on the next one, and how many TLS sessions were resumed."""

    async def scenario(sim: Simulation) -> tuple[float, int]:
        cluster = SimulatedCluster(sim, certificate, lambda name: load_agent("echo"), plan)
        await cluster.start()

        async def call() -> float:
            async with cluster.client(codec="pcm16", has_playback=False, credentials=credentials) as client:
                await client.ping()
                link = client._call.link
                assert isinstance(link, Link)
                began_at = sim.now()
                assert link.connection is not None
                link.connection.abandon()
                link.session_closed(CallLost("the test took it away"))
                async for event in client.events():
                    if isinstance(event, Resumed):
                        break
                took_s = sim.now() - began_at
                await client.finish()
                return took_s

        took_s = await cluster.caller.run(call())
        resumed = sum(worker.endpoint.counters.handshakes_resumed for worker in cluster.workers.values())
        await asyncio.sleep(0)
        await cluster.stop()
        return took_s / LINK_ROUND_TRIP_S, resumed

    return simulate(scenario, seed=1)[0]


@pytest.mark.parametrize(
    ("quic", "credentials", "expected", "tls_resumed"),
    [
        ((), Forgetful(), 2.0, 0),
        ((), CredentialStore(), 2.0, 1),
        (ALWAYS_RETRY, Forgetful(), 3.0, 0),
        (ALWAYS_RETRY, CredentialStore(), 2.0, 1),
    ],
    ids=["nothing kept", "kept", "nothing kept, under load", "kept, under load"],
)
def test_a_resume_takes_two_round_trips_and_under_load_no_more(
    certificate: DevelopmentCertificate,
    quic: tuple[tuple[str, int], ...],
    credentials: CredentialStore,
    expected: float,
    tls_resumed: int,
) -> None:
    took, resumed = round_trips(certificate, Plan(quic=quic), credentials)
    assert took == pytest.approx(expected, abs=0.1)
    assert resumed == tls_resumed

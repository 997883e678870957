"""Load balancers, workers and a caller as they are in production, each on a simulated host of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quiclb.daemon.load_balancer import LoadBalancer
from quiclb.settings.loader import Settings
from testbed.determinism import deterministic
from testbed.simnet.links import Profile
from testbed.simnet.loop import VirtualLoop
from testbed.simnet.network import Ecmp, Host
from testbed.simulation import WALL_EPOCH_S, Simulation
from voice_client import VoiceClient
from voice_client.options import grouped
from voice_gateway.agent.base import Agent
from voice_gateway.certificates.development import DevelopmentCertificate, ensure_certificate
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.worker.worker import Worker

VIP: Final = "192.0.2.1"
URL: Final = f"https://{VIP}:443/v1/voice"
HOME: Final = "10.0.0.2"
MOBILE: Final = "203.0.113.7"
"""The caller's second interface; the first is behind the translator."""

HOME_LINK: Final = Profile(delay_s=0.025)

_CONFIG: Final = {"id": 0, "server_id_length": 4, "nonce_length": 12, "key": "8f95f09245765f80256934e50c66207f"}
_DATACENTRE: Final = Profile(delay_s=0.000_2)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cluster is like; `access` is the caller's link in both directions."""

    access: Profile = HOME_LINK
    balancers: int = 1
    workers: int = 2
    has_routable_cids: bool = True
    has_shared_store: bool = True
    session: tuple[tuple[str, Any], ...] = ()
    quic: tuple[tuple[str, Any], ...] = ()
    recording: tuple[tuple[str, Any], ...] = ()


class SimulatedCluster:
    """Start it, place calls from `caller`, stop it. `make_agent` gives each worker its agent."""

    def __init__(
        self, sim: Simulation, certificate: DevelopmentCertificate, make_agent: Callable[[str], Agent], plan: Plan
    ) -> None:
        network = sim.network
        self.sim = sim
        self.plan = plan
        self._certificate = certificate
        self._make_agent = make_agent
        self._rng = random.Random(sim.rng.getrandbits(64))
        self.nat = network.nat("198.51.100.1", first_port=self._rng.randrange(20_000, 60_000))
        self.caller = network.host("caller", HOME, MOBILE, up=plan.access, nat=self.nat)
        self.balancer_hosts = [
            network.host(f"balancer-{number}", _balancer_inner(number), VIP, up=_DATACENTRE)
            for number in range(plan.balancers)
        ]
        self.worker_hosts = [
            network.host(f"worker-{number}", _worker_inner(number), up=_DATACENTRE) for number in range(plan.workers)
        ]
        network.route(VIP, Ecmp(self.balancer_hosts))
        self._shared_store = _SharedStore(clock=self._wall_clock)
        self.balancers: dict[str, LoadBalancer] = {}
        self.workers: dict[str, Worker] = {}

    async def start(self) -> None:
        """Start everything, workers first."""
        for number in range(self.plan.workers):
            await self.start_worker(number)
        for host in self.balancer_hosts:
            await self.start_balancer(host)

    async def stop(self) -> None:
        """Stop everything in good order."""
        for host in self.worker_hosts:
            await host.run(self.workers[host.name].stop(deadline_s=1.0))
        for host in self.balancer_hosts:
            await host.run(self.balancers[host.name].stop())

    async def start_balancer(self, host: Host) -> None:
        """Start a load balancer on this host, in place of one that was killed if need be."""
        number = self.balancer_hosts.index(host)
        backends = [
            {"name": f"worker-{n}", "address": f"{_worker_inner(n)}:7000", "server_ids": {"0": _server_id(n)}}
            for n in range(self.plan.workers)
        ]
        section = {"listen": f"{VIP}:443", "inner": f"{_balancer_inner(number)}:7000", "datapath": "asyncio"}
        document = {"forwarder": section, "config": [_CONFIG], "backend": backends}
        balancer = host.call(LoadBalancer, Settings.model_validate(document))
        await host.run(balancer.start())
        self.balancers[host.name] = balancer

    async def start_worker(self, number: int) -> None:
        """Start the worker of this number."""
        host = self.worker_hosts[number]
        document = {
            "worker": {
                "name": host.name,
                "server_id": _server_id(number),
                "inner": f"{_worker_inner(number)}:7000",
                "trusted_proxies": tuple(_balancer_inner(n) for n in range(self.plan.balancers)),
            },
            "tls": {"certificate": self._certificate.leaf, "key": self._certificate.key},
            "config": [_CONFIG],
            "quic": {
                "routable_cids": self.plan.has_routable_cids,
                "unroutable_clients_may_migrate": not self.plan.has_routable_cids,
                "retry_key": "11" * 16,
                "ticket_key": "33" * 32,
                "reset_key": "22" * 32,
                **dict(self.plan.quic),
            },
            "session": dict(self.plan.session),
            "recording": dict(self.plan.recording),
        }
        settings = GatewaySettings.model_validate(document)
        agent = self._make_agent(host.name)
        store = self._shared_store if self.plan.has_shared_store else None
        worker = host.call(
            lambda: Worker(settings, agent=agent, store=store, clock=self._wall_clock, rng=self._rng.randbytes)
        )
        await host.run(worker.start())
        self.workers[host.name] = worker

    def _wall_clock(self) -> float:
        return WALL_EPOCH_S + self.sim.loop.elapsed()

    def client(self, **options: Any) -> VoiceClient:
        """A client that calls through the load balancers; enter it on `caller`."""
        options = grouped({"ca_file": self._certificate.authority} | options)
        return VoiceClient(URL, rng=self._rng.randbytes, **options)


class _SharedStore(MemoryStore):
    """As Redis would be: what one worker does at its end is no end for the others."""

    async def close(self) -> None:
        """Keep everything."""


def make_certificate(folder: Path) -> DevelopmentCertificate:
    """The certificate for `VIP`, the same bytes whenever it is made."""
    with _deterministic():
        return ensure_certificate(folder, now=WALL_EPOCH_S, hosts=(VIP,))


@contextmanager
def _deterministic() -> Iterator[None]:
    loop = VirtualLoop()
    try:
        with deterministic(loop, random.Random(0), WALL_EPOCH_S):
            yield
    finally:
        loop.close()


def _server_id(number: int) -> str:
    return f"{number + 1:08x}"


def _balancer_inner(number: int) -> str:
    return f"10.1.0.{number + 1}"


def _worker_inner(number: int) -> str:
    return f"10.2.0.{number + 1}"

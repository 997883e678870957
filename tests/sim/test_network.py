"""The network: delays are exact, shares are right, translators behave, and a seed replays every byte."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from testbed.simnet.links import Burst, Profile
from testbed.simnet.network import Ecmp, Host
from testbed.simulation import Simulation, simulate

PERFECT = Profile(delay_s=0.010)
SERVER = ("192.0.2.1", 443)


class Recorder(asyncio.DatagramProtocol):
    """Keeps what arrives, and answers it where asked to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: bytes | None = None) -> None:
        self.arrivals: list[tuple[float, bytes, Any]] = []
        self.errors: list[Exception] = []
        self._loop = loop
        self._answer = answer

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.arrivals.append((self._loop.time(), data, addr))
        if self._answer is not None:
            self.transport.sendto(self._answer, addr)

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    @property
    def data(self) -> list[bytes]:
        return [data for _, data, _ in self.arrivals]


async def opened(
    sim: Simulation, host: Host, *, local: Any = None, remote: Any = None, answer: bytes | None = None
) -> Recorder:
    recorder = Recorder(sim.loop, answer)
    await host.run(sim.loop.create_datagram_endpoint(lambda: recorder, local_addr=local, remote_addr=remote))
    return recorder


async def pair(sim: Simulation, profile: Profile, answer: bytes | None = None) -> tuple[Recorder, Recorder]:
    """A client whose link is `profile`, and a server on a link without delay."""
    client = sim.network.host("client", "10.0.0.2", up=profile)
    server = sim.network.host("server", SERVER[0], up=Profile(delay_s=0))
    return await opened(sim, client), await opened(sim, server, local=SERVER, answer=answer)


def close(*recorders: Recorder) -> None:
    for recorder in recorders:
        recorder.transport.close()


def test_a_datagram_takes_the_delay_of_both_links_and_so_does_its_answer() -> None:
    async def scenario(sim: Simulation) -> tuple[Any, Any, float]:
        client, server = await pair(sim, PERFECT, answer=b"pong")
        start = sim.now()
        client.transport.sendto(b"ping", SERVER)
        await asyncio.sleep(1)
        close(client, server)
        return server.arrivals, client.arrivals, start

    (at_server, at_client, start), _ = simulate(scenario, seed=1)
    assert at_server == [(pytest.approx(start + 0.010, abs=1e-9), b"ping", ("10.0.0.2", 50001))]
    assert at_client == [(pytest.approx(start + 0.020, abs=1e-9), b"pong", SERVER)]


def test_jitter_spreads_arrivals_and_keeps_the_order() -> None:
    async def scenario(sim: Simulation) -> tuple[list[bytes], float]:
        client, server = await pair(sim, Profile(delay_s=0.010, jitter_s=0.030))
        for number in range(500):
            client.transport.sendto(b"%d" % number, SERVER)
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)
        close(client, server)
        gaps = [later[0] - sooner[0] for sooner, later in itertools.pairwise(server.arrivals)]
        return server.data, max(gaps)

    (data, widest_gap), _ = simulate(scenario, seed=1)
    assert data == [b"%d" % number for number in range(500)]
    assert 0.002 < widest_gap < 0.032


async def _send_many(sim: Simulation, profile: Profile, count: int = 4_000) -> list[int]:
    client, server = await pair(sim, profile)
    for number in range(count):
        client.transport.sendto(b"%d" % number, SERVER)
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)
    close(client, server)
    return [int(data) for data in server.data]


def test_the_share_of_lost_datagrams_is_the_profiles() -> None:
    arrived, _ = simulate(lambda sim: _send_many(sim, Profile(loss=0.05)), seed=3)
    assert len(arrived) == pytest.approx(3_800, abs=60)
    assert arrived == sorted(arrived)


def test_a_burst_loses_neighbours() -> None:
    arrived, _ = simulate(lambda sim: _send_many(sim, Profile(burst=Burst(enter=0.01, leave=0.2))), seed=3)
    lost = sorted(set(range(4_000)) - set(arrived))
    spells = sum(1 for number in lost if number - 1 not in lost)
    assert 3 < len(lost) / spells < 7
    assert len(lost) == pytest.approx(4_000 * 0.01 / 0.21, rel=0.5)


def test_reordered_datagrams_arrive_later_and_all_of_them_arrive() -> None:
    arrived, _ = simulate(lambda sim: _send_many(sim, Profile(reorder=0.1)), seed=3)
    late = sum(1 for before, after in itertools.pairwise(arrived) if after < before)
    assert sorted(arrived) == list(range(4_000))
    assert late == pytest.approx(400, abs=80)


def test_the_share_of_duplicates_is_the_profiles() -> None:
    arrived, _ = simulate(lambda sim: _send_many(sim, Profile(duplicate=0.1)), seed=3)
    assert set(arrived) == set(range(4_000))
    assert len(arrived) == pytest.approx(4_400, abs=60)


def test_datagrams_sent_in_one_instant_arrive_in_order() -> None:
    async def scenario(sim: Simulation) -> list[bytes]:
        client, server = await pair(sim, PERFECT)
        for number in range(100):
            client.transport.sendto(b"%d" % number, SERVER)
        await asyncio.sleep(1)
        close(client, server)
        return server.data

    assert simulate(scenario, seed=1)[0] == [b"%d" % number for number in range(100)]


def test_a_datagram_larger_than_the_link_takes_is_lost_whole() -> None:
    async def scenario(sim: Simulation) -> list[int]:
        client, server = await pair(sim, Profile(max_payload_bytes=1_200))
        for size in (1_200, 1_201):
            client.transport.sendto(bytes(size), SERVER)
        await asyncio.sleep(1)
        close(client, server)
        return [len(data) for data in server.data]

    sizes, sim = simulate(scenario, seed=1)
    assert sizes == [1_200]
    assert sim.trace.counts["too large"] == 1


def test_nothing_sent_in_a_blackout_arrives() -> None:
    async def scenario(sim: Simulation) -> list[bytes]:
        client, server = await pair(sim, PERFECT)
        sim.network.hosts["client"].link.black_out(sim.now() + 1.5, sim.now() + 3.5)
        for number in range(6):
            client.transport.sendto(b"%d" % number, SERVER)
            await asyncio.sleep(1)
        close(client, server)
        return server.data

    assert simulate(scenario, seed=1)[0] == [b"0", b"1", b"4", b"5"]


def test_a_connected_socket_hears_that_nobody_listens() -> None:
    async def scenario(sim: Simulation) -> tuple[list[Exception], list[Exception]]:
        host = sim.network.host("client", "10.0.0.2", up=PERFECT)
        sim.network.host("server", SERVER[0], up=PERFECT)
        connected, unconnected = await opened(sim, host, remote=SERVER), await opened(sim, host)
        connected.transport.sendto(b"?")
        unconnected.transport.sendto(b"?", SERVER)
        await asyncio.sleep(1)
        close(connected, unconnected)
        return connected.errors, unconnected.errors

    (to_connected, to_unconnected), _ = simulate(scenario, seed=1)
    assert [type(error) for error in to_connected] == [ConnectionRefusedError]
    assert to_unconnected == []


def test_a_connected_socket_takes_datagrams_of_its_peer_only() -> None:
    async def scenario(sim: Simulation) -> list[bytes]:
        client, server = await pair(sim, PERFECT)
        other = await opened(
            sim, sim.network.host("other", "10.0.0.9", up=PERFECT), local=("10.0.0.9", 9), remote=SERVER
        )
        client.transport.sendto(b"other", ("10.0.0.9", 9))
        server.transport.sendto(b"peer", ("10.0.0.9", 9))
        await asyncio.sleep(1)
        close(client, server, other)
        return other.data

    assert simulate(scenario, seed=1)[0] == [b"peer"]


def test_a_dual_stack_socket_names_ipv4_peers_as_mapped() -> None:
    async def scenario(sim: Simulation) -> tuple[Any, Any]:
        client = await opened(sim, sim.network.host("client", "10.0.0.2", up=PERFECT))
        server = await opened(sim, sim.network.host("server", SERVER[0], up=PERFECT), local=("::", 443), answer=b"!")
        client.transport.sendto(b"?", SERVER)
        await asyncio.sleep(1)
        close(client, server)
        return server.arrivals[0][2], client.arrivals[0][2]

    assert simulate(scenario, seed=1)[0] == (("::ffff:10.0.0.2", 50001, 0, 0), SERVER)


async def _behind_nat(
    sim: Simulation, change: Callable[[Any], None], pause_s: float = 0.1
) -> tuple[Recorder, Recorder]:
    """A client behind a translator sends twice with `change` between; the server answers to the first source."""
    nat = sim.network.nat("198.51.100.1")
    client = await opened(sim, sim.network.host("client", "10.0.0.2", up=PERFECT, nat=nat))
    server = await opened(sim, sim.network.host("server", SERVER[0], up=PERFECT), local=SERVER)
    client.transport.sendto(b"before", SERVER)
    await asyncio.sleep(pause_s)
    change(nat)
    first_source = server.arrivals[0][2]
    server.transport.sendto(b"to the old mapping", first_source)
    await asyncio.sleep(0.1)
    client.transport.sendto(b"after", SERVER)
    await asyncio.sleep(0.1)
    server.transport.sendto(b"to the new mapping", server.arrivals[-1][2])
    await asyncio.sleep(0.1)
    close(client, server)
    return client, server


def test_a_nat_keeps_its_mapping_until_it_is_rebound() -> None:
    (client, server), _ = simulate(lambda sim: _behind_nat(sim, lambda nat: None), seed=1)
    assert {source for _, _, source in server.arrivals} == {("198.51.100.1", 40001)}
    assert client.data == [b"to the old mapping", b"to the new mapping"]


def test_a_rebound_nat_takes_a_new_port_and_drops_what_comes_to_the_old_one() -> None:
    (client, server), sim = simulate(lambda sim: _behind_nat(sim, lambda nat: nat.rebind()), seed=1)
    assert [source for _, _, source in server.arrivals] == [("198.51.100.1", 40001), ("198.51.100.1", 40002)]
    assert client.data == [b"to the new mapping"]
    assert sim.trace.counts["filtered"] == 1


def test_a_nat_may_keep_the_old_mapping() -> None:
    (client, _), _ = simulate(lambda sim: _behind_nat(sim, lambda nat: nat.rebind(keep_old=True)), seed=1)
    assert client.data == [b"to the old mapping", b"to the new mapping"]


def test_a_nat_may_change_its_address() -> None:
    async def scenario(sim: Simulation) -> tuple[Recorder, Recorder]:
        def move(nat: Any) -> None:
            sim.network.route("198.51.100.2", nat)
            nat.rebind(address="198.51.100.2")

        return await _behind_nat(sim, move)

    (client, server), _ = simulate(scenario, seed=1)
    assert [source for _, _, source in server.arrivals] == [("198.51.100.1", 40001), ("198.51.100.2", 40002)]
    assert client.data == [b"to the new mapping"]


def test_an_unused_mapping_expires() -> None:
    (client, server), _ = simulate(lambda sim: _behind_nat(sim, lambda nat: None, pause_s=121), seed=1, limit_s=300)
    assert len({source for _, _, source in server.arrivals}) == 2
    assert client.data == [b"to the new mapping"]


def test_a_nat_lets_in_only_whom_the_client_has_sent_to() -> None:
    async def scenario(sim: Simulation) -> list[bytes]:
        nat = sim.network.nat("198.51.100.1")
        client = await opened(sim, sim.network.host("client", "10.0.0.2", up=PERFECT, nat=nat))
        server = await opened(sim, sim.network.host("server", SERVER[0], up=PERFECT), local=SERVER)
        other = await opened(sim, sim.network.host("other", "192.0.2.66", up=PERFECT))
        client.transport.sendto(b"?", SERVER)
        await asyncio.sleep(1)
        other.transport.sendto(b"unasked", ("198.51.100.1", 40001))
        server.transport.sendto(b"answer", ("198.51.100.1", 40001))
        await asyncio.sleep(1)
        close(client, server, other)
        return client.data

    assert simulate(scenario, seed=1)[0] == [b"answer"]


def test_an_interface_change_moves_the_source_of_sockets_bound_to_no_address() -> None:
    async def scenario(sim: Simulation) -> list[Any]:
        client, server = await pair(sim, PERFECT)
        client.transport.sendto(b"1", SERVER)
        sim.network.hosts["client"].readdress("10.7.0.7")
        client.transport.sendto(b"2", SERVER)
        await asyncio.sleep(1)
        close(client, server)
        return [source for _, _, source in server.arrivals]

    assert simulate(scenario, seed=1)[0] == [("10.0.0.2", 50001), ("10.7.0.7", 50001)]


def test_a_killed_hosts_datagrams_are_lost_until_its_successor_has_bound_the_address() -> None:
    async def scenario(sim: Simulation) -> tuple[list[bytes], list[bytes]]:
        client, server = await pair(sim, PERFECT)
        host = sim.network.hosts["server"]
        client.transport.sendto(b"received", SERVER)
        await asyncio.sleep(0.1)
        client.transport.sendto(b"on its way", SERVER)
        host.kill()
        await asyncio.sleep(0.1)
        successor = await opened(sim, host, local=SERVER)
        client.transport.sendto(b"to the successor", SERVER)
        await asyncio.sleep(0.1)
        close(client, successor)
        return server.data, successor.data

    assert simulate(scenario, seed=1)[0] == ([b"received"], [b"to the successor"])


@pytest.mark.parametrize(("is_spraying", "hosts_reached"), [(True, 2), (False, 1)])
def test_ecmp_sprays_or_keeps_a_flow_at_one_host(is_spraying: bool, hosts_reached: int) -> None:
    async def scenario(sim: Simulation) -> list[int]:
        hosts = [sim.network.host(name, f"10.1.0.{n}", SERVER[0], up=PERFECT) for n, name in enumerate("ab", 1)]
        sim.network.route(SERVER[0], Ecmp(hosts, is_spraying=is_spraying))
        servers = [await opened(sim, host, local=SERVER) for host in hosts]
        client = await opened(sim, sim.network.host("client", "10.0.0.2", up=PERFECT))
        for _ in range(100):
            client.transport.sendto(b"?", SERVER)
        await asyncio.sleep(1)
        close(client, *servers)
        return [len(server.data) for server in servers]

    counts, _ = simulate(scenario, seed=1)
    assert sum(counts) == 100
    assert sum(count > 0 for count in counts) == hosts_reached


def test_two_sockets_cannot_share_an_address() -> None:
    async def scenario(sim: Simulation) -> None:
        _, server = await pair(sim, PERFECT)
        try:
            await opened(sim, sim.network.hosts["server"], local=SERVER)
        finally:
            close(server)

    with pytest.raises(OSError, match=r"192\.0\.2\.1:443"):
        simulate(scenario, seed=1)


ROUGH = Profile(delay_s=0.01, jitter_s=0.01, loss=0.05, reorder=0.1, duplicate=0.05)


async def _rough_exchange(sim: Simulation) -> None:
    client, server = await pair(sim, ROUGH, answer=b"!")
    for _ in range(200):
        client.transport.sendto(os.urandom(100) + secrets.token_bytes(20), SERVER)
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    close(client, server)


def test_a_seed_replays_every_byte_and_another_does_not() -> None:
    digests = [simulate(_rough_exchange, seed=seed)[1].trace.digest() for seed in (5, 5, 6)]
    assert digests[0] == digests[1] != digests[2]

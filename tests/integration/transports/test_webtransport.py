"""Real sockets: a voice session directly, migrating, behind a NAT that rebinds, and behind load balancers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop
from aioquic.quic.packet import QuicErrorCode

from quiclb import SppHeader, wrap
from testbed.waiting import until
from tests.integration.support.udp import Client, FakeLoadBalancer, Nat, Sessions, Socket, issuer, serving
from tests.unit.voicelink.quic.harness import identity
from voice_gateway.endpoint.endpoint import Endpoint, EndpointSettings
from voice_gateway.errors import BindError, ConfigurationError
from voice_gateway.transport.webtransport import VoiceOverWebTransport
from voicelink.h3.webtransport import SessionOpened
from voicelink.quic import PathValidated, PeerClosed
from voicelink.quic.stateless import MIN_INITIAL_BYTES
from voicelink.wire import AudioFrame

PROBE = b"\xc0" + 0x1A2A3A4A.to_bytes(4, "big") + b"\x08" + b"d" * 8 + b"\x04" + b"s" * 4


@pytest.fixture
async def clients() -> AsyncIterator[list[Client]]:
    started: list[Client] = []
    yield started
    for client in started:
        client.close()


async def connect(clients: list[Client], server: Any, path: str = "/v1/voice") -> Client:
    client = Client(server)
    clients.append(client)
    return await client.connect(path)


def received(sessions: Sessions) -> list[int]:
    return [value.sequence for name, value in sessions.all[0].calls if isinstance(value, AudioFrame)]


async def test_frames_sent_with_the_first_flight_are_all_received(clients: list[Client]) -> None:
    sessions = Sessions()
    async with serving(sessions) as endpoint:
        client = await connect(clients, endpoint.address)
        client.speak(5)
        await until(lambda: len(client.pongs) == 5)
        assert client.has(SessionOpened)
        assert received(sessions) == [0, 1, 2, 3, 4]
        assert endpoint.counters.handshakes_completed == 1
        assert (endpoint.connection_count, endpoint.half_open_count) == (1, 0)


def test_uvloop_serves_as_well() -> None:
    async def call() -> None:
        sessions = Sessions()
        async with serving(sessions) as endpoint:
            client = await Client(endpoint.address or ("", 0)).connect()
            client.speak(3)
            await until(lambda: len(client.pongs) == 3)
            client.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(call())


async def test_a_client_migrates_to_a_new_socket_and_no_frame_is_lost(clients: list[Client]) -> None:
    sessions = Sessions()
    async with serving(sessions) as endpoint:
        client = await connect(clients, endpoint.address)
        client.speak(3)
        await until(lambda: len(client.pongs) == 3 and client.quic.can_migrate)
        await client.migrate(host="127.0.0.2")
        client.speak(3)
        await until(lambda: len(client.pongs) == 6 and client.has(PathValidated))
        client.sockets[0].close()
        client.speak(3)
        await until(lambda: len(client.pongs) == 9)
        assert received(sessions) == list(range(9))
        host, port = client.sockets[-1].address
        assert ("path", f"{host}:{port}") in sessions.all[0].calls
        assert endpoint.counters.path_changes == 1
        assert len(sessions.all) == 1


async def test_a_client_migrates_many_times(clients: list[Client]) -> None:
    async with serving() as endpoint:
        client = await connect(clients, endpoint.address)
        for turn in range(8):
            client.speak()
            await until(lambda turn=turn: len(client.pongs) == turn + 1 and client.quic.can_migrate)  # type: ignore[misc]
            await client.migrate()
        await until(lambda: endpoint.counters.path_changes == 8)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.3"])
async def test_a_rebinding_nat_goes_unnoticed_by_the_client(clients: list[Client], host: str) -> None:
    sessions = Sessions()
    async with serving(sessions) as endpoint:
        nat = await Nat(endpoint.address or ("", 0)).open()
        client = await connect(clients, nat.inside.address)
        client.speak(3)
        await until(lambda: len(client.pongs) == 3)
        await nat.rebind(host)
        client.speak(3)
        await until(lambda: len(client.pongs) == 6)
        await until(lambda: endpoint.counters.path_changes == 1)
        assert received(sessions) == list(range(6))
        nat.close()


# Behind load balancers


class Vip:
    """A public socket whose datagrams go through one load balancer or the other, packet by packet."""

    def __init__(self) -> None:
        self.balancers: list[FakeLoadBalancer] = []
        self._turn = 0

    async def open(self, backend: Any, hosts: tuple[str, ...]) -> Vip:
        self.public = await Socket.open(self._from_client)
        for host in hosts:
            balancer = await FakeLoadBalancer(backend, ("192.0.2.1", 4433)).open(host)
            balancer.outside = self.public
            self.balancers.append(balancer)
        return self

    def _from_client(self, datagram: bytes, client: Any) -> None:
        self._turn += 1
        self.balancers[self._turn % len(self.balancers)].forward(datagram, client)

    def close(self) -> None:
        self.public.close()
        for balancer in self.balancers:
            balancer.inner.close()


async def test_two_load_balancers_are_interchangeable_packet_by_packet(clients: list[Client]) -> None:
    sessions = Sessions()
    hosts = ("127.0.0.11", "127.0.0.12")
    async with serving(sessions, host=None, inner_host="127.0.0.1", trusted_proxies=hosts) as endpoint:
        vip = await Vip().open(endpoint.inner_address, hosts)
        client = await connect(clients, vip.public.address)
        for turn in range(10):
            client.speak()
            await until(lambda turn=turn: len(client.pongs) == turn + 1)  # type: ignore[misc]
        assert all(balancer.answers for balancer in vip.balancers)
        assert endpoint.counters.path_changes == 0
        host, port = client.sockets[0].address
        assert sessions.all[0].requests[0].peer == f"{host}:{port}"
        vip.close()


async def test_a_client_behind_a_load_balancer_migrates(clients: list[Client]) -> None:
    sessions = Sessions()
    async with serving(sessions, host=None, inner_host="127.0.0.1", trusted_proxies=("127.0.0.11",)) as endpoint:
        vip = await Vip().open(endpoint.inner_address, ("127.0.0.11",))
        client = await connect(clients, vip.public.address)
        client.speak()
        await until(lambda: client.pongs == [0] and client.quic.can_migrate)
        await client.migrate()
        client.speak()
        await until(lambda: client.pongs == [0, 1] and client.has(PathValidated))
        host, port = client.sockets[-1].address
        await until(lambda: ("path", f"{host}:{port}") in sessions.all[0].calls)
        vip.close()


async def test_spp_headers_of_an_untrusted_source_are_ignored_and_counted(clients: list[Client]) -> None:
    async with serving(host=None, inner_host="127.0.0.1", trusted_proxies=("127.0.0.11",)) as endpoint:
        vip = await Vip().open(endpoint.inner_address, ("127.0.0.99",))
        await connect(clients, vip.public.address)
        await until(lambda: endpoint.counters.untrusted_source)
        assert endpoint.connection_count == 0
        assert vip.balancers[0].answers == 0
        vip.close()


async def test_an_spp_header_on_the_public_socket_is_not_trusted(clients: list[Client]) -> None:
    async with serving(inner_host="127.0.0.1", trusted_proxies=("127.0.0.11",)) as endpoint:
        vip = await Vip().open(endpoint.address, ("127.0.0.11",))
        await connect(clients, vip.public.address)
        await until(lambda: endpoint.counters.unknown_foreign)
        assert endpoint.connection_count == 0
        vip.close()


async def test_a_load_balancers_health_probe_is_answered_without_an_spp_header() -> None:
    answers: list[bytes] = []
    async with serving(host=None, inner_host="127.0.0.1", trusted_proxies=("127.0.0.11",)) as endpoint:
        prober = await Socket.open(lambda datagram, _: answers.append(datagram), "127.0.0.11")
        prober.send(PROBE.ljust(MIN_INITIAL_BYTES, b"\0"), endpoint.inner_address)
        await until(lambda: answers)
        assert answers[0][1:5] == bytes(4)
        prober.send(b"\x40nonsense without an SPP header", endpoint.inner_address)
        await until(lambda: endpoint.counters.inner_malformed == 1)
        prober.close()


@pytest.mark.parametrize("is_wrapped", [False, True])
async def test_a_health_probe_is_answered_from_any_port_of_a_trusted_proxy_named_with_one(is_wrapped: bool) -> None:
    answers: list[bytes] = []
    async with serving(host=None, inner_host="127.0.0.1", trusted_proxies=("127.0.0.11:4434",)) as endpoint:
        prober = await Socket.open(lambda datagram, _: answers.append(datagram), "127.0.0.11")
        untrusted = await Socket.open(lambda datagram, _: answers.append(datagram), "127.0.0.12")
        probe = PROBE.ljust(MIN_INITIAL_BYTES, b"\0")
        header = wrap(SppHeader(("127.0.0.11", 9), ("192.0.2.1", 443)), b"") if is_wrapped else b""
        untrusted.send(header + probe, endpoint.inner_address)
        prober.send(wrap(SppHeader(("192.0.2.9", 9), ("192.0.2.1", 443)), b"\x40" * 60), endpoint.inner_address)
        await until(lambda: endpoint.counters.untrusted_source == 2)
        prober.send(header + probe, endpoint.inner_address)
        await until(lambda: answers)
        assert answers[0][: len(header)] == header
        assert answers[0][len(header) + 1 : len(header) + 5] == bytes(4)
        assert len(answers) == 1
        prober.close()
        untrusted.close()


# Endings


async def test_close_tells_every_client(clients: list[Client]) -> None:
    async with serving() as endpoint:
        several = [await connect(clients, endpoint.address) for _ in range(3)]
        await until(lambda: all(client.has(SessionOpened) for client in several))
        await endpoint.close("worker stops")
        await until(lambda: all(client.has(PeerClosed) for client in several))
        closed = [each for each in several[0].quic_events if isinstance(each, PeerClosed)]
        assert (closed[0].error_code, closed[0].reason) == (0x100, "worker stops")
        assert endpoint.connection_count == 0


async def test_after_stop_accepting_new_clients_are_refused_and_the_present_ones_go_on(clients: list[Client]) -> None:
    async with serving() as endpoint:
        present = await connect(clients, endpoint.address)
        await until(lambda: present.has(SessionOpened))
        endpoint.stop_accepting()
        late = await connect(clients, endpoint.address)
        await until(lambda: late.has(PeerClosed))
        closed = [each for each in late.quic_events if isinstance(each, PeerClosed)]
        assert closed[0].error_code == QuicErrorCode.CONNECTION_REFUSED
        present.speak()
        await until(lambda: present.pongs == [0])
        assert endpoint.counters.refused_stopped >= 1


async def test_a_restarted_worker_resets_the_connections_it_has_forgotten(clients: list[Client]) -> None:
    nat = await Nat(("127.0.0.1", 0)).open()
    async with serving(cids=issuer(1)) as first:
        nat._server = first.address or ("", 0)
        client = await connect(clients, nat.inside.address)
        await until(lambda: client.has(SessionOpened))
        async with serving(cids=issuer(1)) as restarted, serving(cids=issuer(2)) as other:
            nat._server = other.address or ("", 0)
            client.speak()
            await until(lambda: other.counters.unknown_foreign)
            assert not client.has(PeerClosed)
            assert other.counters.stateless_resets_sent == 0
            nat._server = restarted.address or ("", 0)
            client.speak()
            await until(lambda: client.has(PeerClosed))
            [closed] = [each for each in client.quic_events if isinstance(each, PeerClosed)]
            assert closed.is_stateless_reset
            assert restarted.counters.stateless_resets_sent >= 1
    nat.close()


@pytest.mark.parametrize("is_told", [True, False])
async def test_another_worker_resets_what_a_load_balancer_brings_it_in_place_of_a_lost_one(
    clients: list[Client], is_told: bool
) -> None:
    settings: dict[str, Any] = {
        "inner_host": "127.0.0.1",
        "trusted_proxies": ("127.0.0.11",),
        "resets_for_lost_servers": is_told,
    }
    async with serving(cids=issuer(1), **settings) as lost, serving(cids=issuer(2), **settings) as other:
        vip = await Vip().open(lost.inner_address, ("127.0.0.11",))
        client = await connect(clients, vip.public.address)
        await until(lambda: client.has(SessionOpened))
        vip.balancers[0]._backend = other.inner_address or ("", 0)
        client.speak()
        if is_told:
            await until(lambda: client.has(PeerClosed))
            [closed] = [each for each in client.quic_events if isinstance(each, PeerClosed)]
            assert closed.is_stateless_reset
        else:
            await until(lambda: other.counters.unknown_foreign)
            assert other.counters.stateless_resets_sent == 0
        vip.close()


async def test_a_stranger_gets_no_reset_for_another_workers_connection(clients: list[Client]) -> None:
    """An observer of a connection ID could otherwise end its connection (RFC 9000 section 21.11)."""
    nat = await Nat(("127.0.0.1", 0)).open()
    async with serving(cids=issuer(1)) as first, serving(cids=issuer(2), resets_for_lost_servers=True) as other:
        nat._server = first.address or ("", 0)
        client = await connect(clients, nat.inside.address)
        await until(lambda: client.has(SessionOpened))
        nat._server = other.address or ("", 0)
        client.speak()
        await until(lambda: other.counters.unknown_foreign)
        assert other.counters.stateless_resets_sent == 0
    nat.close()


async def test_rotation_moves_a_live_connection_to_the_new_config(clients: list[Client]) -> None:
    async with serving(cids=issuer(1, config_id=0)) as endpoint:
        client = await connect(clients, endpoint.address)
        await until(lambda: client.quic.can_migrate)
        endpoint.rotate_cids(issuer(1, config_id=4))
        client.speak()
        await until(lambda: client.pongs == [0] and client.quic._peer_cid.cid[0] >> 5 == 4)
        await client.migrate()
        client.speak()
        await until(lambda: client.pongs == [0, 1] and client.has(PathValidated))


async def test_an_address_that_is_taken_is_named() -> None:
    async with serving() as endpoint:
        host, port = endpoint.address or ("", 0)
        second = Endpoint(
            EndpointSettings(host=host, port=port), identity(), issuer(), VoiceOverWebTransport(Sessions().accept)
        )
        with pytest.raises(BindError, match=f"UDP 127.0.0.1:{port} cannot be opened: .*[Aa]ddress already in use"):
            await second.open()


def test_a_trusted_proxy_that_is_no_address_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(ConfigurationError, match="a trusted proxy is an IP address"):
        Endpoint(
            EndpointSettings(trusted_proxies=("lb.example",)),
            identity(),
            issuer(),
            VoiceOverWebTransport(Sessions().accept),
        )

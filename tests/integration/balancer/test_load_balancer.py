"""The load balancer with real sockets on the loopback interface: every datapath must pass all of this."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import asynccontextmanager
from typing import Any

import pytest

from quiclb import LoadBalancer, SppHeader, StartError, unroutable_cid, unwrap, wrap
from quiclb.datapath.linux.wildcard import WildcardEndpoint
from quiclb.datapath.vectorised.datapath import VectorisedDatapath
from quiclb.net.address import format_address
from testbed.waiting import until
from tests.integration.support.load_balancer import TIMEOUT_S, Peer, on_every_datapath, settings_for
from tests.unit.quiclb.pools import cid, short_packet


def sockets_of(balancer: LoadBalancer) -> list[socket.socket]:
    datapath: Any = balancer.host.datapath
    if isinstance(datapath, VectorisedDatapath):
        return [datapath._sockets.vip, datapath._sockets.inner]
    vip, inner = datapath._vip, datapath._inner
    vip_socket = vip._socket if isinstance(vip, WildcardEndpoint) else vip._transport.get_extra_info("socket")
    return [vip_socket, inner._transport.get_extra_info("socket")]


@asynccontextmanager
async def running(backend_ip="127.0.0.1", client_ip="127.0.0.1", count=2, **options):
    backends = [await Peer().open(backend_ip) for _ in range(count)]
    client = await Peer().open(client_ip)
    balancer = LoadBalancer(settings_for([backend.address for backend in backends], **options))
    await balancer.start()
    try:
        yield balancer, client, backends
    finally:
        await balancer.stop()
        for peer in (client, *backends):
            peer.transport.close()
        await asyncio.sleep(0)


@on_every_datapath
async def test_a_loop_of_two_load_balancers_ends_at_its_second_member():
    """Each has the other as its backend: 100 datagrams made 5,444 when only their growth to the MTU ended it."""
    first = LoadBalancer(settings_for([("127.0.0.1", 9)]))
    await first.start()
    second = LoadBalancer(settings_for([first.vip]))
    await second.start()
    first.host.publish(settings_for([second.vip]).table_spec())
    client, probe = await Peer().open(), short_packet(cid(1))

    await until(lambda: second.vip in first.host.table.backends_by_address)
    for number in range(100):
        client.send(probe, first.vip)
        wanted = number + 1
        await until(lambda: second.counters.packets.total() == wanted)  # noqa: B023 - it is awaited here
    await until(lambda: first.counters.packets == {("routable", "ok"): 100})
    assert second.counters.packets == {("drop", "forwarding-loop"): 100}
    await asyncio.gather(first.stop(), second.stop())
    client.transport.close()
    await asyncio.sleep(0)


async def until_forwarded(balancer, client, backend, number=1):
    """A datagram went all the way and was counted, so everything sent before it has been dealt with."""
    packets, key = balancer.counters.backend_packets, (f"b{number}", "to")
    before = packets[key]
    client.send(short_packet(cid(number)), balancer.vip)
    received = await backend.next()
    await until(lambda: packets[key] > before)  # the vectorised datapath counts in its own thread, after it has sent
    return received


@pytest.mark.parametrize(
    ("listen", "inner", "client_ip", "backend_ip"),
    [
        ("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", "127.0.0.1"),
        ("[::1]:0", "[::1]:0", "::1", "::1"),
        ("[::1]:0", "127.0.0.1:0", "::1", "127.0.0.1"),
        ("127.0.0.1:0", "[::1]:0", "127.0.0.1", "::1"),
    ],
    ids=["v4-v4", "v6-v6", "v6-v4", "v4-v6"],
)
@on_every_datapath
async def test_there_and_back(listen, inner, client_ip, backend_ip):
    async with running(backend_ip, client_ip, listen=listen, inner=inner) as (balancer, client, backends):
        for number, backend in enumerate(backends, start=1):
            datagram = short_packet(cid(number))
            client.send(datagram, balancer.vip)
            wrapped, source = await backend.next()
            assert unwrap(wrapped) == (SppHeader(client.address, balancer.vip), datagram)
            assert source == balancer.inner
            backend.send(wrapped[:38] + b"reply", source)
            assert await client.next() == (b"reply", balancer.vip)
        assert balancer.counters.packets == {("routable", "ok"): 2}


@pytest.mark.parametrize("client_ip", ["127.0.0.1", "::1"])
@on_every_datapath
async def test_a_dual_stack_vip_serves_both_families(client_ip):
    async with running(client_ip=client_ip, listen="[::]:0") as (balancer, client, backends):
        client.send(short_packet(cid(1)), (client_ip, balancer.vip[1]))
        wrapped, source = await backends[0].next()
        assert unwrap(wrapped)[0].client == client.address
        backends[0].send(wrapped, source)
        assert (await client.next())[0] == short_packet(cid(1))


@on_every_datapath
async def test_unroutable_datagrams_stay_on_one_backend():
    async with running() as (balancer, client, backends):
        for _ in range(5):
            client.send(short_packet(unroutable_cid(8, bytes)), balancer.vip)
        expected = balancer.host.table.maglev.lookup(client.address, balancer.vip)
        [backend] = [backend for backend in backends if backend.address == expected.address]
        for _ in range(5):
            await backend.next()
        assert balancer.counters.packets == {("fallback", "reserved-0b111"): 5}


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (("224.0.0.1", 4000), "client-multicast"),
        (("127.0.0.1", 0), "client-port-0"),
        (("0.0.0.0", 4000), "client-unspecified"),
        ("vip", "client-is-vip"),
        (("2001:db8::1", 4000), "client-wrong-family"),
    ],
)
@on_every_datapath
async def test_replies_that_would_reflect_or_loop_are_dropped(named, reason):
    async with running() as (balancer, client, backends):
        target = balancer.vip if named == "vip" else named
        backends[0].send(wrap(SppHeader(target, balancer.vip), b"reply"), balancer.inner)
        backends[0].send(wrap(SppHeader(client.address, balancer.vip), b"good"), balancer.inner)
        assert (await client.next())[0] == b"good"
        assert balancer.counters.replies == {("drop", reason): 1, ("sent", "ok"): 1}
        assert balancer.counters.packets == {}


@on_every_datapath
async def test_a_wildcard_vip_sends_nothing_to_itself():
    async with running(listen="0.0.0.0:0") as (balancer, client, backends):
        for target in (("127.0.0.1", balancer.vip[1]), client.address):
            backends[0].send(wrap(SppHeader(target, balancer.vip), b"reply"), balancer.inner)
        assert (await client.next())[0] == b"reply"
        assert balancer.counters.replies == {("drop", "client-is-vip"): 1, ("sent", "ok"): 1}
        assert balancer.counters.packets == {}


@pytest.mark.parametrize(
    ("listen", "asked"), [("0.0.0.0:0", "127.0.0.77"), ("[::]:0", "127.0.0.77"), ("[::]:0", "::1")]
)
@on_every_datapath
async def test_a_wildcard_vip_answers_from_the_address_that_was_asked(listen, asked):
    async with running(listen=listen) as (balancer, _, backends):
        vip = (asked, balancer.vip[1])
        client = await Peer().open("::1" if ":" in asked else "127.0.0.3")
        for _ in range(8):
            client.send(short_packet(cid(1)), vip)
            datagram, _ = await backends[0].next()
            assert unwrap(datagram) == (SppHeader(client.address, vip), short_packet(cid(1)))
            backends[0].send(datagram, balancer.inner)
            assert await client.next() == (short_packet(cid(1)), vip)
        backends[0].send(wrap(SppHeader(client.address, ("2001:db8::1", 1)), b"foreign"), balancer.inner)
        backends[0].send(wrap(SppHeader(client.address, balancer.vip), b"any"), balancer.inner)
        assert (await client.next())[0] == b"any"
        client.transport.close()


@on_every_datapath
async def test_loopback_clients_are_refused_unless_allowed():
    async with running(allow_loopback_clients=False) as (balancer, client, backends):
        backends[0].send(wrap(SppHeader(client.address, balancer.vip), b"reply"), balancer.inner)
        client.send(short_packet(cid(1)), balancer.vip)
        async with asyncio.timeout(TIMEOUT_S):
            while balancer.counters.packets.total() + balancer.counters.replies.total() < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert balancer.counters.packets == {("drop", "client-loopback"): 1}
        assert balancer.counters.replies == {("drop", "client-loopback"): 1}


@on_every_datapath
async def test_a_strangers_reply_is_dropped():
    async with running() as (balancer, client, backends):
        client.send(wrap(SppHeader(client.address, balancer.vip), b"forged"), balancer.inner)
        backends[0].send(wrap(SppHeader(client.address, balancer.vip), b"good"), balancer.inner)
        assert (await client.next())[0] == b"good"
        assert balancer.counters.replies == {("drop", "stranger"): 1, ("sent", "ok"): 1}


@on_every_datapath
async def test_garbage_is_counted_and_service_goes_on():
    rng = random.Random(7)
    async with running() as (balancer, client, backends):
        counters = balancer.counters
        for sent in range(50, 1001, 50):
            for _ in range(50):
                client.send(rng.randbytes(rng.randrange(1, 60)), balancer.vip)
                backends[1].send(rng.randbytes(rng.randrange(1, 60)), balancer.inner)
            async with asyncio.timeout(TIMEOUT_S):
                while min(counters.packets.total(), counters.replies.total()) < sent:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        assert {result for result, _ in counters.replies} == {"drop"}
        # however much came, there are only as many entries as reasons
        assert len(counters.packets) + len(counters.replies) < 20
        client.send(short_packet(cid(1)), balancer.vip)
        while unwrap((await backends[0].next())[0])[1] != short_packet(cid(1)):
            pass


@on_every_datapath
async def test_an_unreachable_backend_harms_nobody_else():
    async with running(count=2) as (balancer, client, backends):
        backends[1].transport.close()
        await asyncio.sleep(0)
        for _ in range(20):
            client.send(short_packet(cid(2)), balancer.vip)
            await until_forwarded(balancer, client, backends[0])
        assert balancer.counters.backend_packets["b1", "to"] == 20
        assert balancer.counters.backend_packets["b2", "to"] == 20


@on_every_datapath
async def test_a_datagram_too_large_for_the_inner_path_is_dropped_whole_and_counted():
    async with running() as (balancer, client, backends):
        client.send(short_packet(cid(1), bytes(65480)), balancer.vip)
        wrapped, _ = await until_forwarded(balancer, client, backends[0])
        assert len(wrapped) < 200
        assert balancer.counters.send_errors == {("inner", "EMSGSIZE"): 1}


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "[::]:0"])
@on_every_datapath
async def test_fragmentation_is_off_on_both_sides(listen):
    async with running(listen=listen) as (balancer, _, _):
        for sock in sockets_of(balancer):
            assert sock.getsockopt(socket.IPPROTO_IP, 10) in (2, 3)
            if sock.family == socket.AF_INET6:
                assert sock.getsockopt(socket.IPPROTO_IPV6, 23) in (2, 3)


async def test_an_address_in_use_is_a_start_error_and_leaves_nothing_open():
    async with running() as (balancer, _, backends):
        taken = format_address(balancer.vip)
        second = LoadBalancer(settings_for([backends[0].address], listen=taken))
        with pytest.raises(StartError, match=f"cannot listen on {taken}: the address is in use"):
            await second.start()
        third = LoadBalancer(settings_for([backends[0].address], listen="192.0.2.77:0"))
        with pytest.raises(StartError, match="does not have the address"):
            await third.start()
        busy = socket.create_server(("127.0.0.1", 0))
        fourth = LoadBalancer(settings_for([backends[0].address], metrics=f"127.0.0.1:{busy.getsockname()[1]}"))
        with pytest.raises(StartError, match=r"cannot serve metrics on 127\.0\.0\.1:\d+: the address is in use"):
            await fourth.start()
        busy.close()


@on_every_datapath
async def test_metrics_are_served():
    async with running(metrics="127.0.0.1:0") as (balancer, client, backends):
        await until_forwarded(balancer, client, backends[0])
        reader, writer = await asyncio.open_connection(*balancer.metrics)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        body = (await reader.read()).decode()
        writer.close()
        assert 'quiclb_packets_total{decision="routable",reason="ok"} 1.0' in body
        assert 'quiclb_receive_drops_total{side="vip"} 0.0' in body


@on_every_datapath
async def test_a_load_balancer_can_be_started_again_on_its_ports():
    async with running() as (balancer, client, backends):
        await until_forwarded(balancer, client, backends[0])
        vip, inner = balancer.vip, balancer.inner
        await balancer.stop()
        options = {"listen": format_address(vip), "inner": format_address(inner)}
        again = LoadBalancer(settings_for([backend.address for backend in backends], **options))
        await again.start()
        try:
            await until_forwarded(again, client, backends[0])
        finally:
            await again.stop()

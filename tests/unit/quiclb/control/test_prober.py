from __future__ import annotations

import asyncio
import os
import random
import socket

import pytest

from quiclb import SppHeader, StartError, unwrap, wrap
from quiclb.backends.health import Health, HealthPolicy
from quiclb.control.prober import Prober
from quiclb.routing.packet import parse_packet
from tests.unit.quiclb.virtual import on_virtual_time

VIP = ("192.0.2.1", 443)
POLICY = HealthPolicy(interval_s=2.0, timeout_s=0.5, fall=3, rise=2)


class Server(asyncio.DatagramProtocol):
    """A backend that speaks the SPP header and answers unknown versions, if it answers."""

    async def open(self, ip="127.0.0.1"):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(ip, 0))
        self.address = self.transport.get_extra_info("sockname")[:2]
        self.received: list[tuple[SppHeader, bytes, tuple]] = []
        self.is_answering = True
        self.reply = lambda header, negotiation: wrap(header, negotiation)
        return self

    def datagram_received(self, data, addr):
        header, datagram = unwrap(data)
        assert isinstance(header, SppHeader)
        assert isinstance(datagram, bytes)
        self.received.append((header, datagram, addr[:2]))
        packet = parse_packet(datagram)
        negotiation = b"\x80\0\0\0\0\x08" + packet.scid + b"\x08" + packet.dcid + b"\0\0\0\1"
        if self.is_answering:
            self.transport.sendto(self.reply(header, negotiation), addr)


class Probing:
    """A prober of one server."""

    def __init__(self, inner_ip="127.0.0.1", server_ip="127.0.0.1"):
        self.inner_ip, self.server_ip = inner_ip, server_ip
        self.changes: list[Health] = []

    async def __aenter__(self):
        self.server = await Server().open(self.server_ip)
        jitter = random.Random(1).random
        self.prober = Prober(POLICY, (self.inner_ip, 4434), VIP, self._changed, rng=os.urandom, jitter=jitter)
        await self.prober.start()
        self.prober.watch([self.server.address])
        return self

    async def __aexit__(self, *_):
        await self.prober.stop()
        self.server.transport.abort()
        await asyncio.sleep(0)

    def _changed(self):
        self.changes.append(self.prober.health(self.server.address))

    def result(self, kind):
        return self.prober.results[self.server.address, kind]


@pytest.mark.parametrize(
    ("inner_ip", "server_ip"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")],
)
@on_virtual_time
async def test_a_backend_is_probed_as_a_client_would_reach_it(inner_ip, server_ip):
    async with Probing(inner_ip, server_ip) as probing:
        await asyncio.sleep(5)
        assert probing.changes == [Health.UP]
        assert probing.result("answered") == len(probing.server.received) >= 2
        header, datagram, source = probing.server.received[0]
        assert header.proxy == VIP
        assert header.client[1] == source[1]
        assert len(datagram) == 1200
        sock = probing.prober._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_IP, 10) == 2


@on_virtual_time
async def test_it_goes_down_and_comes_back():
    async with Probing() as probing:
        await asyncio.sleep(5)
        probing.server.is_answering = False
        await asyncio.sleep(2.4 + 3 * 0.5 + 0.1)
        assert probing.changes == [Health.UP, Health.DOWN]
        assert probing.result("missed") >= 3
        probing.server.is_answering = True
        await asyncio.sleep(2.4 + 0.5 + 0.1)
        assert probing.changes == [Health.UP, Health.DOWN, Health.DOUBTFUL, Health.UP]


@on_virtual_time
async def test_a_closed_port_is_down_with_icmp_or_without():
    async with Probing() as probing:
        probing.server.transport.abort()
        await asyncio.sleep(6)
        assert probing.changes == [Health.DOWN]


@pytest.mark.parametrize(
    "reply",
    [
        lambda header, negotiation: wrap(header, b"\x80\0\0\0\0\x08" + bytes(8) + b"\x08" + bytes(8)),
        lambda header, negotiation: wrap(header, negotiation[:-10]),
        lambda header, negotiation: negotiation[:3],
        lambda header, negotiation: b"",
    ],
)
@on_virtual_time
async def test_wrong_answers_are_none(reply):
    async with Probing() as probing:
        probing.server.reply = reply
        await asyncio.sleep(6)
        assert probing.changes == [Health.DOWN]
        assert probing.result("answered") == 0


@on_virtual_time
async def test_a_bare_answer_is_one_too():
    async with Probing() as probing:
        probing.server.reply = lambda header, negotiation: negotiation
        await asyncio.sleep(3)
        assert probing.changes == [Health.UP]


@on_virtual_time
async def test_an_answer_from_elsewhere_counts_for_no_backend():
    async with Probing() as probing:
        other = await Server().open()
        probing.server.reply = lambda header, negotiation: (
            other.transport.sendto(wrap(header, negotiation), probing.server.received[-1][2]) or b"x"
        )
        await asyncio.sleep(6)
        assert probing.changes == [Health.DOWN]
        other.transport.abort()


@on_virtual_time
async def test_backends_that_are_watched_no_longer_leave_nothing():
    async with Probing() as probing:
        await asyncio.sleep(3)
        probing.prober.watch([])
        received = len(probing.server.received)
        await asyncio.sleep(10)
        assert len(probing.server.received) == received
        assert probing.prober.results == {}
        assert probing.prober.health(probing.server.address) is Health.UNKNOWN


@on_virtual_time
async def test_an_address_that_is_not_ours_is_a_start_error():
    prober = Prober(POLICY, ("192.0.2.77", 4434), VIP, lambda: None, rng=os.urandom, jitter=random.random)
    with pytest.raises(StartError, match=r"cannot probe backends from 192\.0\.2\.77:0: this machine does not have"):
        await prober.start()

"""The emulated link between two network namespaces, with the kernel's own UDP and TCP at its ends."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Self

import pytest

from testbed.link import CALLER, CALLER_AFTER_CHANGE, SERVER, EmulatedLink, LinkPath, is_possible
from testbed.simnet.links import Burst, Profile
from testbed.waiting import until

pytestmark = pytest.mark.skipif(
    not os.environ.get("STRICT") and not is_possible(), reason="network namespaces need root, ip and /dev/net/tun"
)
PORT = 5_000
FLAT = Profile(delay_s=0.02)
ARRIVES_S = 20.0


class Udp:
    """A caller's socket and one of the server."""

    def __init__(self, link: EmulatedLink, caller: str = "") -> None:
        self.loop = asyncio.get_running_loop()
        self.caller = link.caller.socket(socket.SOCK_DGRAM)
        self.server = link.server.socket(socket.SOCK_DGRAM)
        for each in (self.caller, self.server):
            each.setblocking(False)
        self.caller.bind((caller, 0))
        self.server.bind((SERVER, PORT))

    async def arrives(self) -> tuple[str, int]:
        """Where the server sees a datagram of the caller come from."""
        await self.loop.sock_sendto(self.caller, b"x", (SERVER, PORT))
        _, source = await asyncio.wait_for(self.loop.sock_recvfrom(self.server, 2_000), ARRIVES_S)
        return (source[0], source[1])

    async def comes_back(self, to: tuple[str, int]) -> None:
        """A datagram of the server to there reaches the caller."""
        await self.loop.sock_sendto(self.server, b"y", to)
        await asyncio.wait_for(self.loop.sock_recvfrom(self.caller, 2_000), ARRIVES_S)

    async def is_lost(self, to: tuple[str, int]) -> bool:
        """Whether nothing of a datagram to there reaches the caller."""
        await self.loop.sock_sendto(self.server, b"y", to)
        return await _is_silent(self.caller)

    async def received_of(self, count: int, path: LinkPath) -> list[int]:
        """Which of so many numbered datagrams arrive."""
        for index in range(count):
            await self.loop.sock_sendto(self.caller, bytes((index,)), (SERVER, PORT))
        await until(lambda: path.packets["up", "lost"] + path.packets["up", "delivered"] == count, "each has its fate")
        return [self.server.recv(2_000)[0] for _ in range(path.packets["up", "delivered"])]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.caller.close()
        self.server.close()


async def test_delay_is_that_of_the_profile_in_each_direction() -> None:
    async with EmulatedLink(LinkPath(FLAT, Profile(delay_s=0.06))) as link, Udp(link) as udp:
        before = time.monotonic()
        source = await udp.arrives()
        there = time.monotonic()
        assert source == (CALLER, udp.caller.getsockname()[1])
        await udp.comes_back(source)
        back = time.monotonic()
    assert there - before >= 0.02
    assert back - there >= 0.06


async def test_same_seed_loses_the_same_datagrams_and_a_link_without_loss_none() -> None:
    bursts = Profile(delay_s=0.001, burst=Burst(enter=0.1, leave=0.3))
    received = []
    for profile, seed in ((bursts, 7), (bursts, 7), (bursts, 8), (Profile(delay_s=0.001), 7)):
        async with EmulatedLink(LinkPath(profile, seed=seed)) as link, Udp(link) as udp:
            received.append(await udp.received_of(100, link.path))
            assert await _is_silent(udp.server)
    same, again, other, control = received
    assert same == again
    assert same != other
    assert 40 < len(same) < 100
    assert control == list(range(100))


async def test_nothing_passes_in_a_blackout_and_all_does_after_it() -> None:
    async with EmulatedLink(LinkPath(FLAT)) as link, Udp(link) as udp:
        link.black_out(2.0)
        await udp.loop.sock_sendto(udp.caller, b"x", (SERVER, PORT))
        await until(lambda: link.path.packets["up", "blackout"] == 1)
        assert await _is_silent(udp.server)
        await asyncio.sleep(2.0)
        await udp.arrives()
        assert link.path.packets["up", "blackout"] == 1


async def test_rebinding_gives_a_new_port_and_closes_the_old_one() -> None:
    async with EmulatedLink(LinkPath(FLAT), has_nat=True) as link, Udp(link) as udp:
        first = await udp.arrives()
        assert await udp.arrives() == first  # the control: without rebinding it stays
        await udp.comes_back(first)
        link.rebind()
        assert await udp.is_lost(first)
        second = await udp.arrives()
        assert second[1] != first[1]
        await udp.comes_back(second)


async def test_tcp_lives_over_the_nat_and_ends_with_its_mapping() -> None:
    async with EmulatedLink(LinkPath(FLAT), has_nat=True) as link:
        loop = asyncio.get_running_loop()
        listener = link.server.socket(socket.SOCK_STREAM)
        caller = link.caller.socket(socket.SOCK_STREAM)
        for each in (listener, caller):
            each.setblocking(False)
        listener.bind((SERVER, PORT))
        listener.listen()
        _, (server, _) = await asyncio.gather(loop.sock_connect(caller, (SERVER, PORT)), loop.sock_accept(listener))
        await loop.sock_sendall(caller, bytes(20_000))
        assert await _receive(server, 20_000) == 20_000
        link.rebind()
        await loop.sock_sendall(caller, b"after")
        with pytest.raises(ConnectionResetError):  # the server knows no connection from the new port
            await asyncio.wait_for(loop.sock_recv(caller, 10), ARRIVES_S)
        for each in (listener, caller, server):
            each.close()


async def test_old_address_is_dead_after_a_change_of_network() -> None:
    async with EmulatedLink(LinkPath(FLAT)) as link:
        async with Udp(link, CALLER) as old:
            source = await old.arrives()
            assert source == (CALLER, old.caller.getsockname()[1])
            assert await link.change_network() == CALLER_AFTER_CHANGE
            assert await old.is_lost(source)
        async with Udp(link) as new:
            source = await new.arrives()
            assert source == (CALLER_AFTER_CHANGE, new.caller.getsockname()[1])
            await new.comes_back(source)


async def test_port_with_a_path_of_its_own_does_not_share_the_others_fate() -> None:
    own = LinkPath(Profile(delay_s=0.001))
    async with EmulatedLink(LinkPath(Profile(loss=1.0)), by_port={PORT: own}) as link, Udp(link) as udp:
        await udp.arrives()
        await udp.loop.sock_sendto(udp.caller, b"x", (SERVER, PORT + 1))
        await until(lambda: link.path.packets)
        assert own.packets["up", "delivered"] == 1
        assert link.path.packets == {("up", "lost"): 1}


async def _is_silent(end: socket.socket) -> bool:
    """Whether nothing arrives for a while."""
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(end, 2_000), 0.3)
    except TimeoutError:
        return True
    return False


async def _receive(connection: socket.socket, count: int) -> int:
    received = 0
    while received < count:
        received += len(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 65_536), ARRIVES_S))
    return received

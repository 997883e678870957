"""A link that carries connections and datagrams of one call, over real sockets of loopback."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from voice_eval.network.condition import Condition, Direction, Span
from voice_eval.network.link import Address, TcpUdpLink
from voice_eval.network.path import LinkPaths

DELAY_S = 0.05


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.transport.sendto(data, addr)


class Caller(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.received.put_nowait(data)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(100):
            writer.write(data)
    writer.close()


async def test_both_kinds_are_delayed_and_share_an_outage() -> None:
    loop = asyncio.get_running_loop()
    condition = Condition(name="dark", up=Direction(delay_ms=DELAY_S * 1000), blackouts=(Span(at_ms=0, for_ms=3_000),))
    datagrams, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    async with server, TcpUdpLink(address, LinkPaths(condition, "seed")) as link:
        link.datagrams.upstream = datagrams.get_extra_info("sockname")[:2]
        caller, protocol = await loop.create_datagram_endpoint(Caller, remote_addr=link.datagrams.address)
        reader, writer = await asyncio.open_connection(*link.address)
        before = loop.time()
        caller.sendto(b"one")
        assert await protocol.received.get() == b"one"
        assert loop.time() - before >= 2 * DELAY_S
        before = loop.time()
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        assert loop.time() - before >= 2 * DELAY_S

        (outage,) = link.begin_speech()
        caller.sendto(b"lost")
        writer.write(b"two")
        assert await reader.readexactly(3) == b"two"
        assert loop.time() >= outage.end_s
        assert protocol.received.empty()
        caller.sendto(b"three")
        assert await protocol.received.get() == b"three"

        link.new_address()
        with suppress(ConnectionResetError):
            assert await reader.read(1) == b""
        caller.sendto(b"from elsewhere")
        assert await protocol.received.get() == b"from elsewhere"
        writer.close()
        caller.close()
    datagrams.close()

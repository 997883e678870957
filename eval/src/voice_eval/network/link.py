"""A link on this machine between a caller and a server: a relay on loopback that delays and loses as its paths say."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from voice_eval.network.path import LinkPaths, Outage, PacketPath, TcpPath

Address = tuple[str, int]
SEGMENT_BYTES: Final = 1_200
_IP_UDP_BYTES: Final = 28
_UNTIL_S: Final = 600.0
_TICK_S: Final = 1e-6


class Link(ABC):
    """Use as `async with`, and dial `address` in place of the server's."""

    def __init__(self, upstream: Address, paths: LinkPaths, host: str = "127.0.0.1") -> None:
        self.upstream = upstream
        self.host = host
        self.address: Address = (host, 0)
        self._paths = paths
        self._timers: set[asyncio.TimerHandle] = set()
        self._began_at = 0.0
        self._last_at: dict[int, float] = {}

    async def __aenter__(self) -> Self:
        self._began_at = asyncio.get_running_loop().time()
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.cancel()
        await self._close()

    def begin_speech(self) -> list[Outage]:
        """The caller says the first word: blackouts count from now; returns them on the event loop's clock."""
        now_s = self.now_s
        for at_s in self._paths.new_addresses(now_s):
            self.at(at_s, self.new_address)
        outages = self._paths.begin_speech(now_s, now_s + _UNTIL_S)
        return [Outage(self._began_at + each.begin_s, self._began_at + each.end_s) for each in outages]

    @property
    def now_s(self) -> float:
        """Seconds since the link was opened."""
        return asyncio.get_running_loop().time() - self._began_at

    def at(self, at_s: float, act: Callable[[], None]) -> None:
        """Do it then, unless the link is closed before."""

        def run() -> None:
            self._timers.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_at(self._began_at + at_s, run)
        self._timers.add(timer)

    def deliver(self, path: PacketPath | TcpPath, at_s: float, act: Callable[[], None]) -> None:
        """As `at`, after all that was to be delivered over this path before: timers of one instant have no order."""
        at_s = self._last_at[id(path)] = max(at_s, self._last_at.get(id(path), 0.0) + _TICK_S)
        self.at(at_s, act)

    @abstractmethod
    async def _open(self) -> None: ...

    @abstractmethod
    async def _close(self) -> None: ...

    @abstractmethod
    def new_address(self) -> None:
        """From now on the server sees the caller at another address."""


class UdpLink(Link):
    """Carries datagrams; each address of the caller's has a port of its own towards the server, as at a NAT."""

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._bindings: dict[Address, asyncio.DatagramTransport] = {}
        self._waiting: dict[Address, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._inside, _ = await loop.create_datagram_endpoint(
            lambda: _Receiver(self._outward), local_addr=(self.host, 0)
        )
        self.address = self._inside.get_extra_info("sockname")[:2]

    async def _close(self) -> None:
        self._inside.close()
        self.new_address()

    def new_address(self) -> None:
        for transport in self._bindings.values():
            transport.close()
        self._bindings.clear()

    def _outward(self, data: bytes, caller: Address) -> None:
        arrival = self._paths.up.carry(self.now_s, len(data) + _IP_UDP_BYTES)
        if arrival is not None:
            self.deliver(self._paths.up, arrival, lambda: self._send_up(data, caller))

    def _inward(self, data: bytes, caller: Address) -> None:
        arrival = self._paths.down.carry(self.now_s, len(data) + _IP_UDP_BYTES)
        if arrival is not None:
            self.deliver(self._paths.down, arrival, lambda: self._inside.sendto(data, caller))

    def _send_up(self, data: bytes, caller: Address) -> None:
        if (transport := self._bindings.get(caller)) is not None:
            transport.sendto(data)
        elif caller in self._waiting:
            self._waiting[caller].append(data)
        else:
            self._waiting[caller] = [data]
            task = asyncio.get_running_loop().create_task(self._bind(caller))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _bind(self, caller: Address) -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Receiver(lambda data, _: self._inward(data, caller)), remote_addr=self.upstream
        )
        self._bindings[caller] = transport
        for data in self._waiting.pop(caller, ()):
            transport.sendto(data)


class TcpLink(Link):
    """Carries connections, each a stream by itself over the same path; see `TcpPath` for what is modelled."""

    async def _open(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, self.host, 0)
        self.address = self._server.sockets[0].getsockname()[:2]

    async def _close(self) -> None:
        self._server.close()
        self.new_address()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def new_address(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._connected(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        up, down = (TcpPath(path, self._paths.round_trip_s) for path in (self._paths.up, self._paths.down))
        try:
            # the SYN and its answer
            await asyncio.sleep(down.carry(up.carry(self.now_s, 60), 60) - self.now_s)
            outside, out = await asyncio.open_connection(*self.upstream)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(out)
        await asyncio.gather(self._pump(reader, out, up), self._pump(outside, writer, down))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: TcpPath) -> None:
        with suppress(OSError):
            while data := await reader.read(SEGMENT_BYTES):
                self.deliver(path, path.carry(self.now_s, len(data) + 40), _writing(writer, data))
        self.deliver(path, path.carry(self.now_s, 40), writer.transport.abort if reader.exception() else writer.close)


class TcpUdpLink(Link):
    """Carries the connections and the datagrams of one call over the same paths.

    `address` takes connections to `upstream`; `datagrams` is a link of its own, whose upstream is set when it is known.
    """

    def __init__(self, upstream: Address, paths: LinkPaths, host: str = "127.0.0.1") -> None:
        super().__init__(upstream, paths, host)
        self.connections = TcpLink(upstream, paths, host)
        self.datagrams = UdpLink(upstream, paths, host)

    async def _open(self) -> None:
        await self.connections.__aenter__()
        await self.datagrams.__aenter__()
        self.address = self.connections.address

    async def _close(self) -> None:
        await self.datagrams.__aexit__()
        await self.connections.__aexit__()

    def new_address(self) -> None:
        self.connections.new_address()
        self.datagrams.new_address()


def _writing(writer: asyncio.StreamWriter, data: bytes) -> Callable[[], None]:
    def write() -> None:
        if not writer.is_closing():
            writer.write(data)

    return write


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._received(data, addr)

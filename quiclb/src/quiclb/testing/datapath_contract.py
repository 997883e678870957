"""What every datapath must do. Subclass it in a test file and override `make`:

```python
from quiclb.testing.datapath_contract import DatapathContract

class TestMyDatapath(DatapathContract):
    def make(self) -> Datapath:
        return MyDatapath()
```

It needs UDP on 127.0.0.1, unless `driver` is overridden too.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from quiclb.codec.config import QuicLbConfig
from quiclb.codec.encoder import CidEncoder
from quiclb.datapath.base import Datapath, DatapathSetup, Side
from quiclb.errors import StartError
from quiclb.net.address import Address
from quiclb.net.spp import HEADER_LENGTH, SppHeader, unwrap, wrap
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.table import RoutingTable, UnknownServerId, build_table
from quiclb.testing.datapath_driver import QUIET_S, TIMEOUT_S, DatapathDriver, SocketDriver

BACKENDS = 3
CLIENTS = 3
CONFIGS = (
    QuicLbConfig(0, 4, 12, bytes(range(16))),
    QuicLbConfig(1, 3, 5, bytes(range(16))),
    QuicLbConfig(2, 8, 7),
)
"""One for each algorithm: single pass, four pass and plaintext."""
UNROUTABLE = b"\xff" * 17
"""A connection ID of codepoint 0b111."""


def server_id(number: int, config: QuicLbConfig) -> bytes:
    """The server ID of a backend."""
    return bytes((number + 1,)) * config.server_id_length


def connection_id(number: int, config: QuicLbConfig = CONFIGS[0], nonce: int = 1) -> bytes:
    """A connection ID of a backend."""
    encoder = CidEncoder(config, server_id(number, config), rng=bytes)
    return encoder.encode_nonce(nonce.to_bytes(config.nonce_length, "big"))


def short_packet(dcid: bytes, payload: bytes = b"payload of a short header") -> bytes:
    return b"\x40" + dcid + payload


def long_packet(dcid: bytes, payload: bytes = b"payload of a long header") -> bytes:
    return b"\xc0\0\0\0\1" + bytes((len(dcid),)) + dcid + b"\x04scid" + payload


@dataclass(slots=True)
class Run:
    """A started datapath and what surrounds it."""

    datapath: Datapath
    driver: DatapathDriver

    def table(
        self,
        states: dict[int, BackendState] | None = None,
        *,
        version: int = 0,
        unknown_server_id: UnknownServerId = UnknownServerId.FALLBACK,
        without: int | None = None,
    ) -> RoutingTable:
        """A table of the backends in these states (default: active); one may be left out."""
        backends = [
            Backend(
                f"b{number}",
                self.driver.backend(number),
                (states or {}).get(number, BackendState.ACTIVE),
                {config.config_id: (server_id(number, config),) for config in CONFIGS},
            )
            for number in range(BACKENDS)
            if number != without
        ]
        return build_table(CONFIGS, backends, unknown_server_id=unknown_server_id, version=version, fallback_size=251)

    async def delivered(
        self, datagram: bytes, client: int = 0, *, within_s: float = TIMEOUT_S, behind: Collection[bytes] = ()
    ) -> int | None:
        """Send from a client; return which backend got the datagram with its SPP header, `None` if none did.

        Those `behind` which it was sent may come as well.
        """
        self.driver.client_sends(client, datagram)
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while loop.time() < until:
            for number in range(BACKENDS):
                wrapped = await self.driver.backend_received(number, 0.0)
                if wrapped is not None:
                    header = SppHeader(self.driver.client(client), self.datapath.vip)
                    if unwrap(wrapped) in [(header, each) for each in behind]:
                        continue
                    assert unwrap(wrapped) == (header, datagram)
                    return number
            await asyncio.sleep(0.001)
        return None

    async def is_dropped(self, datagram: bytes) -> bool:
        """Send from a client; return whether no backend gets the datagram."""
        return await self.delivered(datagram, within_s=QUIET_S) is None

    async def counted(self, condition: Callable[[], bool]) -> None:
        """Wait until the counters meet a condition."""
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():  # noqa: ASYNC110 - counters have no event
                await asyncio.sleep(0.001)


class DatapathContract:
    """The tests; see the module's description."""

    def make(self) -> Datapath:
        """Return a new datapath that is not started."""
        raise NotImplementedError

    def driver(self) -> DatapathDriver:
        """Return what sends to it and receives from it."""
        return SocketDriver()

    def run(self, test: Callable[[Run], Awaitable[None]]) -> None:
        """Run a test on a started datapath, in an event loop of its own."""

        async def whole() -> None:
            async with self.started() as run:
                await test(run)

        asyncio.run(whole())

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Run]:
        """Start a datapath, and close it at the end."""
        driver, datapath = self.driver(), self.make()
        await driver.open(BACKENDS, CLIENTS)
        try:
            await datapath.start(DatapathSetup(("127.0.0.1", 0), ("127.0.0.1", 0), is_loopback_allowed=True))
            driver.attach(datapath)
            yield Run(datapath, driver)
        finally:
            await datapath.close()
            await driver.close()

    def test_datagrams_reach_the_backend_that_their_connection_id_names(self) -> None:
        async def test(run: Run) -> None:
            run.datapath.install(run.table())
            for config in CONFIGS:
                for number in range(BACKENDS):
                    for packet in (short_packet, long_packet):
                        datagram = packet(connection_id(number, config))
                        assert await run.delivered(datagram, client=number % CLIENTS) == number
            total = 2 * len(CONFIGS) * BACKENDS
            await run.counted(lambda: run.datapath.counters.packets == {("routable", "ok"): total})

        self.run(test)

    def test_replies_reach_the_client_that_their_header_names(self) -> None:
        async def test(run: Run) -> None:
            run.datapath.install(run.table())
            for number in range(CLIENTS):
                header = SppHeader(run.driver.client(number), run.datapath.vip)
                reply = b"reply %d" % number
                run.driver.backend_sends(number % BACKENDS, wrap(header, reply))
                assert await run.driver.client_received(number) == reply
            await run.counted(lambda: run.datapath.counters.replies == {("sent", "ok"): CLIENTS})

        self.run(test)

    def test_unroutable_datagrams_go_by_the_hash_of_the_4_tuple(self) -> None:
        async def test(run: Run) -> None:
            table = run.table()
            run.datapath.install(table)
            for client in range(CLIENTS):
                chosen = table.maglev.lookup(run.driver.client(client), run.datapath.vip)
                found = await run.delivered(short_packet(UNROUTABLE), client)
                assert chosen is not None
                assert found is not None
                assert chosen.address == run.driver.backend(found)

        self.run(test)

    def test_an_installed_table_takes_effect_with_the_next_datagram(self) -> None:
        async def test(run: Run) -> None:
            run.datapath.install(run.table())
            datagram = short_packet(connection_id(1))
            assert await run.delivered(datagram) == 1
            only_first = {1: BackendState.DOWN, 2: BackendState.DOWN}
            run.datapath.install(run.table(only_first, version=1))
            assert await run.delivered(datagram) == 0
            run.datapath.install(run.table({1: BackendState.DRAINING}, version=2))
            assert await run.delivered(datagram) == 1

        self.run(test)

    def test_a_draining_backend_gets_no_new_connections(self) -> None:
        async def test(run: Run) -> None:
            run.datapath.install(run.table({1: BackendState.DRAINING, 2: BackendState.DRAINING}))
            assert {await run.delivered(short_packet(UNROUTABLE), client) for client in range(CLIENTS)} == {0}

        self.run(test)

    def test_unknown_server_ids_are_dropped_if_the_table_says_so(self) -> None:
        async def test(run: Run) -> None:
            datagram = short_packet(connection_id(BACKENDS + 1))
            run.datapath.install(run.table())
            assert await run.delivered(datagram) is not None
            run.datapath.install(run.table(unknown_server_id=UnknownServerId.DROP))
            assert await run.is_dropped(datagram)
            assert await run.delivered(short_packet(connection_id(2))) == 2

        self.run(test)

    def test_without_active_backends_unroutable_datagrams_are_dropped(self) -> None:
        async def test(run: Run) -> None:
            run.datapath.install(run.table(dict.fromkeys(range(BACKENDS), BackendState.DOWN)))
            assert await run.is_dropped(short_packet(connection_id(0)))
            await run.counted(lambda: run.datapath.counters.packets == {("drop", "no-active-backend"): 1})

        self.run(test)

    def test_garbage_from_clients_is_dropped_or_forwarded_and_stops_nothing(self) -> None:
        async def test(run: Run) -> None:
            run.datapath.install(run.table())
            garbage = (b"\xc0", b"\xc0\0\0\0\1\xff", bytes(1), b"\xff" * 1400)
            for datagram in garbage:
                run.driver.client_sends(0, datagram)
            assert await run.delivered(short_packet(connection_id(2)), behind=garbage) == 2

        self.run(test)

    def test_datagrams_that_a_load_balancer_has_wrapped_are_dropped(self) -> None:
        async def test(run: Run) -> None:
            run.datapath.install(run.table())
            header = SppHeader(("192.0.2.1", 5), run.datapath.vip)
            assert await run.is_dropped(wrap(header, short_packet(connection_id(0))))
            await run.counted(lambda: run.datapath.counters.packets == {("drop", "forwarding-loop"): 1})

        self.run(test)

    def test_untrusted_sources_and_bad_headers_reach_no_client(self) -> None:
        async def test(run: Run) -> None:
            run.datapath.install(run.table())
            good = wrap(SppHeader(run.driver.client(0), run.datapath.vip), b"reply")
            run.driver.backend_sends(BACKENDS, good)
            run.driver.backend_sends(0, good[: HEADER_LENGTH - 1])
            run.driver.backend_sends(0, bytes(60))
            run.driver.backend_sends(0, wrap(SppHeader(("224.0.0.1", 9), run.datapath.vip), b"reply"))
            run.driver.backend_sends(0, wrap(SppHeader(run.datapath.vip, run.datapath.vip), b"reply"))
            run.driver.backend_sends(0, good[:HEADER_LENGTH])
            assert await run.driver.client_received(0, QUIET_S) is None
            await run.counted(lambda: run.datapath.counters.replies.total() == 6)
            assert {result for result, _ in run.datapath.counters.replies} == {"drop"}

        self.run(test)

    def test_counters_are_by_backend_and_forget_those_that_left(self) -> None:
        async def test(run: Run) -> None:
            run.datapath.install(run.table())
            datagram = short_packet(connection_id(1))
            assert await run.delivered(datagram) == 1
            header = SppHeader(run.driver.client(0), run.datapath.vip)
            run.driver.backend_sends(1, wrap(header, b"reply"))
            assert await run.driver.client_received(0) == b"reply"
            packets = {("b1", "to"): 1, ("b1", "from"): 1}
            await run.counted(lambda: run.datapath.counters.backend_packets == packets)
            sizes = {("b1", "to"): len(datagram), ("b1", "from"): len(b"reply")}
            await run.counted(lambda: run.datapath.counters.backend_bytes == sizes)
            run.datapath.install(run.table(without=1))
            await run.counted(lambda: not run.datapath.counters.backend_packets)
            await run.counted(lambda: not run.datapath.counters.backend_bytes)

        self.run(test)

    def test_nothing_is_forwarded_before_the_first_table(self) -> None:
        async def test(run: Run) -> None:
            assert run.datapath.counters.packets.total() == 0
            run.datapath.install(run.table())
            assert await run.delivered(short_packet(connection_id(0))) == 0

        self.run(test)

    def test_receive_drops_are_a_number_or_unknown(self) -> None:
        async def test(run: Run) -> None:
            run.datapath.install(run.table())
            for side in Side:
                drops = run.datapath.receive_drops(side)
                assert drops is None or drops >= 0

        self.run(test)

    def test_close_is_allowed_twice_and_keeps_the_counters(self) -> None:
        async def test(run: Run) -> None:
            run.datapath.install(run.table())
            assert await run.delivered(short_packet(connection_id(0))) == 0
            await run.datapath.close()
            await run.datapath.close()
            assert run.datapath.counters.packets == {("routable", "ok"): 1}

        self.run(test)

    def test_close_before_start_does_nothing(self) -> None:
        async def whole() -> None:
            await self.make().close()

        asyncio.run(whole())


class SocketDatapathContract(DatapathContract):
    """The tests of a datapath that binds UDP sockets of the operating system."""

    def test_an_address_in_use_raises_and_leaves_nothing_open(self) -> None:
        async def whole() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
                taken.bind(("127.0.0.1", 0))
                address: Address = taken.getsockname()
                datapath = self.make()
                with pytest.raises(StartError, match=str(address[1])):
                    await datapath.start(DatapathSetup(address, ("127.0.0.1", 0)))
                await datapath.close()

        asyncio.run(whole())

    def test_ports_are_free_after_close(self) -> None:
        async def whole() -> None:
            async with self.started() as run:
                run.datapath.install(run.table())
                addresses = run.datapath.vip, run.datapath.inner
            for address in addresses:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
                    again.bind(address)

        asyncio.run(whole())

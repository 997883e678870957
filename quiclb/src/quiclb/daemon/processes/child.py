"""The forwarding process: `python -m quiclb.daemon.processes.child FD`, started by the supervisor alone."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import sys
from typing import Final

import uvloop

from quiclb.daemon.datapath_host import DatapathHost
from quiclb.daemon.interpreter import freeze_gc
from quiclb.daemon.processes.messages import (
    Ask,
    Ready,
    Refused,
    Report,
    Serve,
    Setup,
    Stop,
    Table,
    TooLarge,
    encode,
    read_downward,
)
from quiclb.daemon.table_installer import log_table
from quiclb.datapath.base import SocketPair
from quiclb.logs.setup import configure_logging_on_use, get_logger
from quiclb.logs.writer import lines_lost
from quiclb.net.address import is_wildcard, normalise
from quiclb.routing.table import RoutingTable
from quiclb.routing.table_spec import TableSpec

DRAIN_TIMEOUT_S: Final = 2.0
DRAIN_POLL_S: Final = 0.002


def main() -> None:
    """Serve the supervisor at the other end of the socket pair until it sends `Stop`, or is gone for too long."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    sys.exit(uvloop.run(_Child().run(channel)))


class _Child:
    """One process: first a spare, then forwarding in one slot until its end."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()
        self._host: DatapathHost | None = None
        self._sockets: SocketPair | None = None
        self._table: RoutingTable | None = None
        self._failure: BaseException | None = None

    async def run(self, channel: socket.socket) -> int:
        loop = asyncio.get_running_loop()
        # the terminal's Ctrl-C and hang-up reach the whole group; the supervisor decides
        for number in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)
        loop.add_signal_handler(signal.SIGTERM, self._stopped.set)
        reader, writer = await asyncio.open_connection(sock=channel)
        setup = await read_downward(reader)
        if not isinstance(setup, Setup):
            return 1
        configure_logging_on_use(setup.log_choice.log_format, setup.log_choice.level)
        obeying = loop.create_task(self._obey(reader, writer, setup))
        await self._stopped.wait()
        obeying.cancel()
        if self._host is not None and self._sockets is not None:
            if setup.is_release_allowed:
                await release(self._sockets)
            await self._host.stop()
            writer.write(encode(Report.of(self._host.counters, lines_lost())))
        writer.close()
        if self._failure is not None:
            get_logger().error("forwarding ended", fault=repr(self._failure))
            return 1
        return 0

    async def _obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, setup: Setup) -> None:
        while (message := await read_downward(reader)) is not None:
            if isinstance(message, Table):
                await self._take(message.spec, writer)
            elif isinstance(message, Serve):
                await self._serve(message.slot, setup, writer)
            elif isinstance(message, Ask) and self._host is not None:
                writer.write(encode(Report.of(self._host.counters, lines_lost())))
            elif isinstance(message, Stop):
                self._stopped.set()
        if self._host is not None:
            # the supervisor is gone: the next one binds beside these sockets
            get_logger().warning("supervisor lost", ends_in_s=setup.orphan_grace_s)
            await asyncio.sleep(setup.orphan_grace_s)
        self._stopped.set()

    async def _take(self, spec: TableSpec, writer: asyncio.StreamWriter) -> None:
        if self._host is not None:
            self._host.publish(spec)
            return
        is_first = self._table is None
        self._table = await asyncio.to_thread(spec.build)
        log_table("table built", self._table)
        if is_first:
            writer.write(encode(Ready()))

    async def _serve(self, slot: int, setup: Setup, writer: asyncio.StreamWriter) -> None:
        if self._table is None:
            raise RuntimeError("`Serve` came before a table")
        self._sockets = SocketPair(*(socket.socket(fileno=fd) for fd in setup.slots[slot]))
        for other, fds in enumerate(setup.slots):
            if other != slot:
                # Held open here, a dead neighbour's sockets would go on collecting datagrams.
                for fd in fds:
                    os.close(fd)
        host = DatapathHost()
        host.refused = lambda address: writer.write(encode(Refused(address)))
        host.too_large = lambda: writer.write(encode(TooLarge()))
        vip, inner = (normalise(sock.getsockname()) for sock in (self._sockets.vip, self._sockets.inner))
        await host.open(
            setup.datapath, vip, inner, sockets=self._sockets, is_loopback_allowed=setup.is_loopback_allowed
        )
        freeze_gc()
        host.serve(self._table)
        self._host = host
        self._watching = asyncio.create_task(self._watch(host))

    async def _watch(self, host: DatapathHost) -> None:
        self._failure = await host.failed()
        self._stopped.set()


async def release(sockets: SocketPair) -> None:
    """Let datagrams go to others bound to the address, and return when those that came before are forwarded.

    A connected UDP socket is passed over when the kernel deals out datagrams of others, so nothing is lost between this
    socket and the next one. Where no other socket is bound, senders see a closed port.
    """
    queues = select.poll()
    for sock in (sockets.vip, sockets.inner):
        address = sock.getsockname()
        # connecting would bind a wildcard to one address
        if not is_wildcard(normalise(address)):
            sock.connect(address)
        queues.register(sock, select.POLLIN)
    for _ in range(round(DRAIN_TIMEOUT_S / DRAIN_POLL_S)):
        if not queues.poll(0):
            return
        await asyncio.sleep(DRAIN_POLL_S)


if __name__ == "__main__":
    main()

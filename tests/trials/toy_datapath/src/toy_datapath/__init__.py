"""A datapath whose table is pushed as bytes into maps, as for a kernel program; a thread stands for the kernel.

The thread knows the maps alone, never the routing table: server IDs to backend numbers, backend numbers to addresses,
and one array of backend numbers for datagrams whose connection ID names no backend.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
import threading
from dataclasses import dataclass, field

from quiclb.codec.decoder import CidDecoder, Unroutable
from quiclb.datapath.base import Datapath, DatapathSetup
from quiclb.datapath.counters import DatapathCounters
from quiclb.errors import StartError
from quiclb.net.address import Address, normalise
from quiclb.net.spp import SppHeader, client_fault, is_wrapped, unwrap, wrap
from quiclb.routing.fallback import flow_hash
from quiclb.routing.packet import LongHeader, PacketFault, parse_packet
from quiclb.routing.pool import BackendState
from quiclb.routing.table import RoutingTable, UnknownServerId

_BACKEND = struct.Struct("!4sHB")
_NUMBER = struct.Struct("=H")


@dataclass(frozen=True, slots=True)
class Maps:
    """What is pushed for one version of the table; replaced whole."""

    version: int
    decoder: CidDecoder
    server_ids: dict[bytes, bytes] = field(default_factory=dict)
    backends: bytes = b""
    fallback: bytes = b""
    falls_back: bool = True
    names: tuple[str, ...] = ()


class ToyDatapath(Datapath):
    """IPv4 only, on two addresses that are no wildcards."""

    def __init__(self) -> None:
        self._setup: DatapathSetup | None = None
        self._sockets: list[socket.socket] = []
        self._addresses: list[Address] = [("", 0), ("", 0)]
        self._counters = DatapathCounters()
        self._maps: Maps | None = None
        self._thread: threading.Thread | None = None
        self._wake = -1

    @property
    def vip(self) -> Address:
        return self._addresses[0]

    @property
    def inner(self) -> Address:
        return self._addresses[1]

    @property
    def counters(self) -> DatapathCounters:
        return self._counters

    async def start(self, setup: DatapathSetup) -> None:
        self._setup = setup
        if setup.sockets is not None:
            self._sockets = [setup.sockets.vip, setup.sockets.inner]
        for address in () if self._sockets else (setup.listen, setup.inner):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sockets.append(sock)
            sock.setblocking(False)
            try:
                sock.bind(address)
            except OSError as error:
                await self.close()
                raise StartError(f"cannot listen on {address[0]}:{address[1]}: {error.strerror}") from None
        self._addresses = [normalise(sock.getsockname()) for sock in self._sockets]
        self._wake = os.eventfd(0)

    def install(self, table: RoutingTable) -> None:
        data = table.as_data()
        self._maps = Maps(
            version=data.version,
            decoder=CidDecoder(data.configs, check_self_length=data.check_cid_length),
            server_ids={bytes((config,)) + sid: _NUMBER.pack(n) for (config, sid), n in data.server_ids.items()},
            backends=b"".join(
                _BACKEND.pack(socket.inet_aton(each.address[0]), each.address[1], each.state is BackendState.DOWN)
                for each in data.backends
            ),
            fallback=b"".join(map(_NUMBER.pack, data.fallback)),
            falls_back=data.unknown_server_id is UnknownServerId.FALLBACK,
            names=tuple(each.name for each in data.backends),
        )
        self._counters.keep_backends(set(self._maps.names))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="toy-datapath", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        sockets, self._sockets = self._sockets, []
        if self._thread is not None and sockets:
            os.eventfd_write(self._wake, 1)
            await asyncio.to_thread(self._thread.join)
        for sock in sockets:
            sock.close()
        if self._wake >= 0 and sockets:
            os.close(self._wake)

    def _run(self) -> None:
        vip, inner = self._sockets
        while True:
            ready, _, _ = select.select([vip.fileno(), inner.fileno(), self._wake], [], [])
            maps = self._maps
            if self._wake in ready or maps is None:
                return
            for sock in (each for each in (vip, inner) if each.fileno() in ready):
                try:
                    datagram, source = sock.recvfrom(65536)
                    (self._from_client if sock is vip else self._from_backend)(maps, datagram, source)
                except OSError as error:
                    self._counters.send_errors["inner" if sock is vip else "vip", str(error.errno)] += 1

    def _from_client(self, maps: Maps, datagram: bytes, client: Address) -> None:
        decision, reason, number = self._decide(maps, datagram, client)
        self._counters.packets[decision, reason] += 1
        if number is not None:
            ip, port, _ = _BACKEND.unpack_from(maps.backends, number * _BACKEND.size)
            self._sockets[1].sendto(wrap(SppHeader(client, self.vip), datagram), (socket.inet_ntoa(ip), port))
            self._count(maps.names[number], "to", len(datagram))

    def _decide(self, maps: Maps, datagram: bytes, client: Address) -> tuple[str, str, int | None]:
        fault = self._client_fault(client)
        packet = parse_packet(datagram)
        if fault is not None or isinstance(packet, PacketFault):
            return "drop", fault or str(packet), None
        if is_wrapped(datagram):
            return "drop", "forwarding-loop", None
        decoded = maps.decoder.decode(packet.dcid, isinstance(packet, LongHeader))
        if isinstance(decoded, Unroutable):
            return self._fall_back(maps, decoded.reason, client)
        found = maps.server_ids.get(bytes((decoded.config_id,)) + decoded.server_id)
        if found is None:
            reason = "unknown-server-id"
            return self._fall_back(maps, reason, client) if maps.falls_back else ("drop", reason, None)
        [number] = _NUMBER.unpack(found)
        if maps.backends[(number + 1) * _BACKEND.size - 1]:
            return self._fall_back(maps, "backend-down", client)
        return "routable", "ok", number

    def _fall_back(self, maps: Maps, reason: str, client: Address) -> tuple[str, str, int | None]:
        slots = len(maps.fallback) // _NUMBER.size
        if not slots:
            return "drop", "no-active-backend", None
        [number] = _NUMBER.unpack_from(maps.fallback, flow_hash(client, self.vip) % slots * _NUMBER.size)
        return "fallback", reason, number

    def _from_backend(self, maps: Maps, datagram: bytes, source: Address) -> None:
        entry = socket.inet_aton(source[0]) + source[1].to_bytes(2, "big")
        size = _BACKEND.size
        known = [n for n in range(len(maps.names)) if maps.backends[n * size : n * size + len(entry)] == entry]
        if not known:
            self._counters.replies["drop", "untrusted-source"] += 1
            return
        opened = unwrap(datagram)
        fault = None if isinstance(opened, tuple) else str(opened)
        if isinstance(opened, tuple):
            fault = self._client_fault(opened[0].client) if opened[1] else "empty-datagram"
        if fault is not None or not isinstance(opened, tuple):
            self._counters.replies["drop", str(fault)] += 1
            return
        header, payload = opened
        self._sockets[0].sendto(payload, header.client)
        self._counters.replies["sent", "ok"] += 1
        self._count(maps.names[known[0]], "from", len(payload))

    def _client_fault(self, client: Address) -> str | None:
        is_loopback_allowed = self._setup is not None and self._setup.is_loopback_allowed
        fault = client_fault(client, self.vip, is_loopback_allowed=is_loopback_allowed)
        return None if fault is None else str(fault)

    def _count(self, name: str, direction: str, size: int) -> None:
        self._counters.backend_packets[name, direction] += 1
        self._counters.backend_bytes[name, direction] += size

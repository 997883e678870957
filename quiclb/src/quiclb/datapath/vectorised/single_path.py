"""The vectorised datapath at low load: one datagram at a time, without arrays.

A few datagrams leave sooner like this, above all when the caches are cold after a pause. The decisions of
`ForwardingRules` on recent clients and backends are cached, so that the next usual datagram takes few steps; all others
go to the rules.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from quiclb.datapath.base import Datagrams, Replies, Side
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.datapath.linux import libc, pktinfo
from quiclb.datapath.linux.batches import PENDING_ERRORS
from quiclb.net.address import Address, ipv4_mapped, normalise
from quiclb.net.spp import HEADER_LENGTH, SppHeader, wrap
from quiclb.routing.fast_path import FastPath
from quiclb.routing.table import RoutingTable

MAX_DATAGRAM_BYTES: Final = 2048
"""The longest datagram taken from a client; longer ones are dropped whole and counted as `EMSGSIZE`."""

MAX_KEPT: Final = 4096
"""How many clients are cached; then the cache is cleared. It saves time and changes no decision."""

_MAX_JOINED_BYTES: Final = 65536


class SinglePath:
    """Receives from and sends to two sockets that do not block; calls `failed` with the errno of each failed send."""

    def __init__(
        self, vip: socket.socket, inner: socket.socket, rules: ForwardingRules, failed: Callable[[Side, int], None]
    ) -> None:
        self._vip, self._inner = vip, inner
        self._rules = rules
        self._failed = failed
        self._bytes = memoryview(bytearray(_MAX_JOINED_BYTES))
        self._into = [self._bytes]
        self._is_wildcard = rules.is_wildcard
        if self._is_wildcard:
            pktinfo.ask(vip)
        self._headers: dict[Any, bytes] = {}
        self._client_targets: dict[bytes, _ClientTarget] = {}
        self._use(rules.table)

    def forward_client(self) -> bool:
        """Forward the next datagram of a client; false if none waits."""
        control: pktinfo.Control = []
        try:
            if self._is_wildcard:
                datagram, control, _, client = self._vip.recvmsg(MAX_DATAGRAM_BYTES + 1, pktinfo.CONTROL_BYTES)
                path = (client, *control)
            else:
                datagram, client = self._vip.recvfrom(MAX_DATAGRAM_BYTES + 1)
                path = client
        except OSError as error:
            return _is_passing(error)
        header = self._headers.get(path)
        target = self._fast_path.find(datagram) if header is not None else None
        is_current = self._rules.table is self._table
        if header is None or target is None or not is_current or len(datagram) > MAX_DATAGRAM_BYTES:
            self._from_client(path, datagram, normalise(client), pktinfo.local_destination(control))
            return True
        try:
            self._inner.sendto(header + datagram, target.address)
        except OSError as error:
            self._send_again(Side.INNER, header + datagram, target.address, [], error.errno or 0)
        # while it is being delivered
        counters = self._rules.counters
        counters.packets["routable", "ok"] += 1
        counters.backend_packets[target.to_key] += 1
        counters.backend_bytes[target.to_key] += len(datagram)
        return True

    def forward_backend(self) -> int | None:
        """Forward the next message of a backend; returns how many datagrams it held, or `None` if none waits."""
        try:
            length, control, _, source = self._inner.recvmsg_into(self._into, pktinfo.CONTROL_BYTES)
        except OSError as error:
            return 0 if _is_passing(error) else None
        target = self._backend_targets.get(source)
        client = self._client_targets.get(bytes(self._bytes[:HEADER_LENGTH]))
        is_current = self._rules.table is self._table
        if control or target is None or client is None or not is_current or length <= HEADER_LENGTH:
            return self._from_backend(length, control, normalise(source))
        self._reply(self._bytes[HEADER_LENGTH:length], client)
        counters = self._rules.counters
        counters.replies["sent", "ok"] += 1
        counters.backend_packets[target.from_key] += 1
        counters.backend_bytes[target.from_key] += length - HEADER_LENGTH
        return 1

    def from_clients(self, datagrams: Datagrams, vip: Address | None = None) -> None:
        """Forward what was received at the VIP, with one byte more than may pass where it is too long."""
        fitting = []
        for datagram in datagrams:
            if len(datagram[0]) <= MAX_DATAGRAM_BYTES:
                fitting.append(datagram)
            else:
                self._failed(Side.INNER, errno.EMSGSIZE)
        for wrapped, address in self._rules.from_clients(fitting, vip):
            target = _mapped(address) if self._inner.family == socket.AF_INET6 else address
            try:
                self._inner.sendto(wrapped, target)
            except OSError as error:
                self._send_again(Side.INNER, wrapped, target, [], error.errno or 0)

    def from_backends(self, datagrams: Datagrams) -> Replies:
        """Forward what was received on the inner side; returns what was sent."""
        replies = self._rules.from_backends(datagrams)
        for payload, header in replies:
            self._reply(payload, self._client_target(header))
        return replies

    def _use(self, table: RoutingTable) -> None:
        is_v6 = self._inner.family == socket.AF_INET6
        targets = {
            backend.name: _BackendTarget(
                _mapped(backend.address) if is_v6 else backend.address, (backend.name, "to"), (backend.name, "from")
            )
            for backend in table.pool
        }
        self._fast_path = FastPath(table, targets)
        self._backend_targets = {
            (*target.address, 0, 0) if is_v6 else target.address: target for target in targets.values()
        }
        self._table = table

    def _from_client(self, path: Any, datagram: bytes, client: Address, local_destination: str | None) -> None:
        """Ask the rules, and cache the client if it is one."""
        if self._rules.table is not self._table:
            self._use(self._rules.table)
        vip = (local_destination, self._rules.vip[1]) if local_destination else self._rules.vip
        if path not in self._headers and self._rules.client_fault(client) is None:
            if len(self._headers) >= MAX_KEPT:
                self._headers.clear()
            self._headers[path] = wrap(SppHeader(client, vip), b"")
        self.from_clients([(datagram, client)], vip)

    def _from_backend(self, length: int, control: pktinfo.Control, backend: Address) -> int:
        if self._rules.table is not self._table:
            self._use(self._rules.table)
        message = self._bytes[:length]
        size = _segment_length(control) or length or 1
        datagrams = [(bytes(message[at : at + size]), backend) for at in range(0, max(length, 1), size)]
        replies = self.from_backends(datagrams)
        if len(datagrams) == 1 and replies:
            if len(self._client_targets) >= MAX_KEPT:
                self._client_targets.clear()
            self._client_targets[datagrams[0][0][:HEADER_LENGTH]] = self._client_target(replies[0][1])
        return len(datagrams)

    def _client_target(self, header: SppHeader) -> _ClientTarget:
        is_v6 = self._vip.family == socket.AF_INET6
        control = pktinfo.local_source(header.proxy[0], self._vip.family) if self._is_wildcard else []
        return _ClientTarget(_mapped(header.client) if is_v6 else header.client, control)

    def _reply(self, payload: bytes | memoryview, client: _ClientTarget) -> None:
        try:
            if client.control:
                self._vip.sendmsg([payload], client.control, 0, client.address)
            else:
                self._vip.sendto(payload, client.address)
        except OSError as error:
            self._send_again(Side.VIP, payload, client.address, client.control, error.errno or 0)

    def _send_again(
        self, side: Side, datagram: bytes | memoryview, target: Address, control: pktinfo.Control, error: int
    ) -> None:
        """The error may concern an earlier datagram to another address; reporting it has cleared it."""
        if error in PENDING_ERRORS:
            try:
                (self._vip if side is Side.VIP else self._inner).sendmsg([datagram], control, 0, target)
                return
            except OSError as second:
                error = second.errno or 0
        self._failed(side, error)


class _BackendTarget(NamedTuple):
    """A backend's address as the inner socket takes it, and the keys it is counted by."""

    address: Address
    to_key: tuple[str, str]
    from_key: tuple[str, str]


class _ClientTarget(NamedTuple):
    """A client's address as the VIP's socket takes it, and what makes the datagram leave from where it was sent to."""

    address: Address
    control: pktinfo.Control


def _mapped(address: Address) -> Address:
    ip, port = address
    return (ipv4_mapped(ip), port)


def _is_passing(error: OSError) -> bool:
    """Whether a receive call failed for the sake of an earlier datagram, and more may wait; raises what is worse."""
    if isinstance(error, BlockingIOError):
        return False
    if error.errno in PENDING_ERRORS:
        return True
    raise error


def _segment_length(control: pktinfo.Control) -> int | None:
    for level, kind, data in control:
        if (level, kind) == (libc.SOL_UDP, libc.UDP_GRO):
            length: int = struct.unpack_from("=i", data)[0]
            return length
    return None

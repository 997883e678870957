"""The decision: which backend gets a datagram.

A routable connection ID wins in every packet; all else goes by the 4-tuple. As every connection ID of the pool
can be decoded by every load balancer, the draft's tables between these two steps have nothing to hold (draft section
"Fallback Algorithm").
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quiclb.codec.decoder import Reason, Unroutable
from quiclb.net.address import Address
from quiclb.net.spp import is_wrapped
from quiclb.routing.packet import LongHeader, PacketFault, parse_packet
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.table import RoutingTable, UnknownServerId


class DropReason(StrEnum):
    """Why a datagram is not forwarded although it may be QUIC."""

    NO_BACKEND = "no-active-backend"
    LOOP = "forwarding-loop"


@dataclass(frozen=True, slots=True)
class Routable:
    """The connection ID names this backend."""

    backend: Backend
    config_id: int
    server_id: bytes


@dataclass(frozen=True, slots=True)
class Fallback:
    """The connection ID names none, for `reason`; the 4-tuple chose. `server_id` is set if one was decoded."""

    backend: Backend
    reason: Reason
    config_id: int | None = None
    server_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """No backend gets the datagram, for `reason`."""

    reason: Reason | PacketFault | DropReason
    config_id: int | None = None
    server_id: bytes | None = None


Decision = Routable | Fallback | Drop


def route(table: RoutingTable, datagram: bytes, client: Address, vip: Address) -> Decision:
    """Decide on a datagram that `client` sent to `vip`. Never raises."""
    packet = parse_packet(datagram)
    if isinstance(packet, PacketFault):
        return Drop(packet)
    decoded = table.decoder.decode(packet.dcid, isinstance(packet, LongHeader))
    if isinstance(decoded, Unroutable):
        if decoded.reason is Reason.RESERVED and is_wrapped(datagram):
            return Drop(DropReason.LOOP, decoded.config_id)
        return _fall_back(table, client, vip, decoded.reason, decoded.config_id, None)
    backend = table.backends_by_server_id.get((decoded.config_id, decoded.server_id))
    if backend is None:
        if table.unknown_server_id is UnknownServerId.DROP:
            return Drop(Reason.UNKNOWN_SERVER_ID, decoded.config_id, decoded.server_id)
        return _fall_back(table, client, vip, Reason.UNKNOWN_SERVER_ID, decoded.config_id, decoded.server_id)
    if backend.state is BackendState.DOWN:
        return _fall_back(table, client, vip, Reason.BACKEND_DOWN, decoded.config_id, decoded.server_id)
    return Routable(backend, decoded.config_id, decoded.server_id)


def _fall_back(
    table: RoutingTable, client: Address, vip: Address, reason: Reason, config_id: int | None, server_id: bytes | None
) -> Decision:
    backend = table.maglev.lookup(client, vip)
    if backend is None:
        return Drop(DropReason.NO_BACKEND, config_id, server_id)
    return Fallback(backend, reason, config_id, server_id)

"""One input through each part that parses untrusted bytes: parser, decoder, router, SPP, both datapaths.

The first byte chooses the client's address and whether the rest comes from a client or from a backend's side; the rest
is the datagram. Anything but silence is a fault.
"""

from __future__ import annotations

from functools import cache

from quiclb.codec.config import QuicLbConfig
from quiclb.datapath.base import Datagrams
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.net.address import Address
from quiclb.net.spp import SppHeader, unwrap, wrap
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.router import Drop, route
from quiclb.routing.table import RoutingTable, UnknownServerId, build_table
from tests.property.quiclb.vector_harness import SLOT_BYTES, VectorHarness

KEY = bytes.fromhex("8f95f09245765f80256934e50c66207f")
VIP: Address = ("192.0.2.1", 443)
INNER: Address = ("10.0.0.1", 4434)
CONFIGS = (
    QuicLbConfig(0, 4, 12, KEY),
    QuicLbConfig(1, 3, 4, KEY),
    QuicLbConfig(2, 8, 7),
    QuicLbConfig(3, 10, 5, KEY, first_byte_encodes_cid_length=False),
    QuicLbConfig(4, 15, 4, KEY),
    QuicLbConfig(5, 1, 4),
)
CLIENTS: tuple[Address, ...] = (
    ("198.51.100.7", 40001),
    ("198.51.100.7", 0),
    ("224.0.0.1", 4000),
    ("255.255.255.255", 4000),
    ("127.0.0.1", 4000),
    VIP,
    ("0.0.0.0", 9),
    ("203.0.113.200", 65535),
)
SOURCES: tuple[Address, ...] = (("10.0.0.10", 4433), ("10.0.0.11", 4433), ("10.0.0.12", 4433), ("10.9.9.9", 4433))
IS_REPLY = 0x80


def check(data: bytes) -> None:
    """Raise `AssertionError`, or the error of the code under test, if an input is dealt with wrongly."""
    choice, datagram = (data[0], data[1:SLOT_BYTES]) if data else (0, b"")
    for index in range(len(tables())):
        scalar, again, vector = datapaths(index)
        if choice & IS_REPLY:
            batch: Datagrams = [(datagram, SOURCES[choice % len(SOURCES)])]
            replies = scalar.from_backends(batch)
            assert again.from_backends(batch) == replies
            assert list(vector.from_backends(batch)) == replies
            for payload, header in replies:
                assert datagram.endswith(payload)
                assert header.client not in (VIP, INNER)
        else:
            client = CLIENTS[choice % len(CLIENTS)]
            batch = [(datagram, client)]
            out = scalar.from_clients(batch)
            assert again.from_clients(batch) == out
            assert list(vector.from_clients(batch)) == out
            decision = route(tables()[index], datagram, client, VIP)
            for wrapped, target in out:
                assert not isinstance(decision, Drop)
                assert target == decision.backend.address
                assert unwrap(wrapped) == (SppHeader(client, VIP), datagram)
                assert wrap(SppHeader(client, VIP), datagram) == wrapped
        assert again.counters == scalar.counters == vector.rules.counters


@cache
def tables() -> tuple[RoutingTable, ...]:
    """One that falls back, one that drops and checks lengths, one with no configs, one with no active backend."""
    states = (BackendState.ACTIVE, BackendState.DRAINING, BackendState.DOWN)
    backends = [
        Backend(
            f"b{number}",
            SOURCES[number],
            state,
            {config.config_id: (bytes((number,)) * config.server_id_length,) for config in CONFIGS},
        )
        for number, state in enumerate(states)
    ]
    return (
        build_table(CONFIGS, backends, fallback_size=1021),
        build_table(
            CONFIGS, backends, unknown_server_id=UnknownServerId.DROP, check_cid_length=True, fallback_size=1021
        ),
        build_table([], [Backend("alone", SOURCES[0])], fallback_size=1021),
        build_table(CONFIGS, backends[1:], fallback_size=1021),
    )


@cache
def datapaths(index: int) -> tuple[ForwardingRules, ForwardingRules, VectorHarness]:
    """Two sets of scalar forwarding rules that share nothing but the table, and the vectorised datapath."""
    table = tables()[index]
    return (
        ForwardingRules(table, VIP, INNER),
        ForwardingRules(table, VIP, INNER),
        VectorHarness(table, VIP, INNER, capacity=4),
    )

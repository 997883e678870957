from __future__ import annotations

import pytest

from quiclb import CidEncoder, QuicLbConfig, SppHeader, unroutable_cid, wrap
from quiclb.codec.cid import UNROUTABLE_CONFIG_ID
from quiclb.codec.decoder import Reason
from quiclb.routing.packet import PacketFault
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.router import Drop, DropReason, Fallback, Routable, route
from quiclb.routing.table import UnknownServerId, build_table
from tests.unit.quiclb.pools import CLIENT, CONFIGS, KEY, VIP, cid, long_packet, short_packet, table
from tests.unit.quiclb.vectors import VECTORS, config_of

TABLE = table()


@pytest.mark.parametrize("packet", [short_packet, long_packet])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.algorithm.value)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_routable_cid_wins_in_every_packet_and_config(packet, config, number):
    decision = route(TABLE, packet(cid(number, config)), CLIENT, VIP)
    assert isinstance(decision, Routable)
    assert decision.backend.name == f"b{number}"
    assert decision.config_id == config.config_id


def test_seven_configs_at_once_each_have_their_own_map():
    configs = [QuicLbConfig(config_id, 3, 4 + config_id, KEY if config_id % 2 else None) for config_id in range(7)]
    # the same server ID is another backend's in each config
    backends = [Backend(f"b{number}", ("10.0.0.1", number + 1), server_ids={number: (b"sid",)}) for number in range(7)]
    made = build_table(configs, backends, fallback_size=11)
    for config in configs:
        dcid = CidEncoder(config, b"sid", rng=bytes).encode_nonce(bytes(config.nonce_length))
        for packet in (short_packet, long_packet):
            assert route(made, packet(dcid), CLIENT, VIP).backend.name == f"b{config.config_id}"


def test_the_plaintext_layout_that_aws_load_balancers_route():
    """Byte 0 is 0x00 to 0x1f, bytes 1 to 8 are the server ID."""
    config = QuicLbConfig(0, 8, 7)
    dcid = CidEncoder(config, b"quic-id1", rng=bytes).encode_nonce(b"n" * 7)
    assert dcid == b"\x0fquic-id1nnnnnnn"
    made = build_table([config], [Backend("b", ("10.0.0.1", 1), server_ids={0: (b"quic-id1",)})], fallback_size=3)
    for first in range(0x20):
        assert isinstance(route(made, short_packet(bytes((first,)) + dcid[1:]), CLIENT, VIP), Routable)


def test_the_client_address_does_not_matter_to_a_routable_cid():
    decisions = {route(TABLE, short_packet(cid(2)), ("203.0.113.5", port), VIP).backend.name for port in range(1, 99)}
    assert decisions == {"b2"}


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (long_packet(bytes(8)), Reason.TOO_SHORT),
        (long_packet(b""), Reason.EMPTY),
        (short_packet(b"", b""), Reason.EMPTY),
        (short_packet(b"\x60" + bytes(19)), Reason.NO_CONFIG),
        (short_packet(unroutable_cid(8, bytes)), Reason.RESERVED),
        (long_packet(unroutable_cid(20, bytes)), Reason.RESERVED),
        (short_packet(cid(1)[:10], b""), Reason.TOO_SHORT),
        (long_packet(cid(9)), Reason.UNKNOWN_SERVER_ID),
    ],
)
def test_unroutable_cids_fall_back_to_the_4_tuple(datagram, reason):
    decision = route(TABLE, datagram, CLIENT, VIP)
    assert isinstance(decision, Fallback)
    assert decision.reason is reason
    assert decision.backend is TABLE.maglev.lookup(CLIENT, VIP)


@pytest.mark.parametrize("first", [0x80, 0x9F, 0xC3, 0xFF])
@pytest.mark.parametrize("version", [b"\0\0\0\0", b"\0\0\0\1", b"\x6b\x33\x43\xcf", b"\xde\xad\xbe\xef"])
def test_neither_version_nor_type_bits_matter(first, version):
    datagram = bytes((first,)) + version + long_packet(b"\xe7" + bytes(7))[5:]
    assert route(TABLE, datagram, CLIENT, VIP) == route(TABLE, long_packet(b"\xe7" + bytes(7)), CLIENT, VIP)


def test_unknown_server_ids_are_dropped_if_so_set():
    dropping = table(unknown_server_id=UnknownServerId.DROP)
    decision = route(dropping, short_packet(cid(9)), CLIENT, VIP)
    assert decision == Drop(Reason.UNKNOWN_SERVER_ID, 0, b"\x09" * 4)
    assert isinstance(route(dropping, short_packet(cid(1)), CLIENT, VIP), Routable)
    assert isinstance(route(dropping, long_packet(bytes(8)), CLIENT, VIP), Fallback)


def test_a_draining_backend_keeps_its_cids_and_gets_nothing_else():
    draining = table({2: BackendState.DRAINING})
    assert route(draining, short_packet(cid(2)), CLIENT, VIP).backend.name == "b2"
    placed = {route(draining, long_packet(b""), ("203.0.113.5", port), VIP).backend.name for port in range(1, 300)}
    assert placed == {"b1", "b3"}


def test_a_backend_that_is_down_gets_nothing():
    down = table({2: BackendState.DOWN})
    decision = route(down, short_packet(cid(2)), CLIENT, VIP)
    assert isinstance(decision, Fallback)
    assert decision.reason is Reason.BACKEND_DOWN
    placed = {route(down, long_packet(b""), ("203.0.113.5", port), VIP).backend.name for port in range(1, 300)}
    assert placed == {"b1", "b3"}


def test_without_active_backends_only_routable_cids_are_served():
    states = dict.fromkeys((1, 2, 3), BackendState.DRAINING)
    assert route(table(states), long_packet(b""), CLIENT, VIP) == Drop(DropReason.NO_BACKEND)
    assert isinstance(route(table(states), short_packet(cid(1)), CLIENT, VIP), Routable)


def test_what_is_not_quic_is_dropped():
    assert route(TABLE, b"", CLIENT, VIP) == Drop(PacketFault.EMPTY)
    assert route(TABLE, b"\xc0\0\0\0\1\x14abc", CLIENT, VIP) == Drop(PacketFault.TRUNCATED)


@pytest.mark.parametrize("client", [CLIENT, ("2001:db8::7", 40001)])
def test_a_datagram_that_a_load_balancer_has_wrapped_is_dropped_as_a_loop(client):
    once = wrap(SppHeader(client, VIP), short_packet(cid(1)))
    twice = wrap(SppHeader(("2001:db8::1", 4434), ("2001:db8::2", 443)), once)
    loop = Drop(DropReason.LOOP, UNROUTABLE_CONFIG_ID)
    assert route(TABLE, twice, CLIENT, VIP) == loop
    # with IPv6 one header alone looks like any unroutable connection ID: the next load balancer drops it
    assert (route(TABLE, once, CLIENT, VIP) == loop) is (client is CLIENT)


@pytest.mark.parametrize("length", [1, 2, 14, 37, 38])
def test_the_magic_of_a_header_alone_is_a_legal_short_header(length):
    whole = wrap(SppHeader(CLIENT, VIP), b"")
    assert isinstance(route(TABLE, whole[:length], CLIENT, VIP), Fallback)
    assert isinstance(route(TABLE, whole[:2] + b"\x55" * 60, CLIENT, VIP), Fallback)


def test_with_no_config_every_cid_is_unroutable():
    bare = build_table([], [Backend("a", ("10.0.0.1", 1))], fallback_size=7)
    decision = route(bare, short_packet(cid(1)), CLIENT, VIP)
    assert isinstance(decision, Fallback)
    assert decision.reason is Reason.NO_CONFIG


def test_length_check_applies_to_long_and_short_headers():
    strict = table(check_cid_length=True)
    wrong = b"\x01" + cid(1)[1:]
    assert route(strict, long_packet(wrong), CLIENT, VIP).reason is Reason.SELF_LENGTH_MISMATCH
    assert route(strict, short_packet(wrong), CLIENT, VIP).reason is Reason.SELF_LENGTH_TOO_SMALL
    assert isinstance(route(strict, long_packet(cid(1)), CLIENT, VIP), Routable)


@pytest.mark.parametrize("case", [c for c in VECTORS["edge_cases"] if c["active_servers"]], ids=lambda c: c["cid"])
def test_server_id_edge_cases(case):
    configs = list(map(config_of, case["configs"]))
    servers = [
        Backend(f"b{index}", ("10.0.0.1", index + 1), server_ids={configs[0].config_id: (bytes.fromhex(server_id),)})
        for index, server_id in enumerate(case["active_servers"])
    ]
    decision = route(
        build_table(configs, servers, fallback_size=7), long_packet(bytes.fromhex(case["cid"])), CLIENT, VIP
    )
    assert isinstance(decision, Fallback)
    assert decision.reason == case["expect_reason"]

from __future__ import annotations

import pytest

from quiclb import SppHeader, unwrap, wrap
from quiclb.datapath.base import Side
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.routing.table import UnknownServerId
from tests.unit.quiclb.pools import CLIENT, INNER, VIP, cid, long_packet, short_packet, table

BACKEND = ("10.0.0.12", 4433)


@pytest.fixture
def rules():
    return ForwardingRules(table(), VIP, INNER)


def test_datagrams_reach_their_backend_whole_with_the_client_in_front(rules):
    datagram = short_packet(cid(2))
    [(sent, destination)] = rules.from_clients([(datagram, CLIENT)])
    assert destination == BACKEND
    assert unwrap(sent) == (SppHeader(CLIENT, VIP), datagram)
    assert rules.counters.packets == {("routable", "ok"): 1}
    assert rules.counters.backend_packets == {("b2", "to"): 1}


def test_coalesced_packets_go_where_the_first_one_does_and_stay_together(rules):
    datagram = long_packet(cid(2)) + long_packet(cid(2)) + short_packet(cid(2))
    [(sent, destination)] = rules.from_clients([(datagram, CLIENT)])
    assert destination == BACKEND
    assert sent.endswith(datagram)


def test_a_batch_keeps_its_order_and_skips_what_is_dropped(rules):
    batch = [(short_packet(cid(1)), CLIENT), (b"", CLIENT), (short_packet(cid(3)), CLIENT), (long_packet(b""), CLIENT)]
    destinations = [destination for _, destination in rules.from_clients(batch)]
    assert destinations[:2] == [("10.0.0.11", 4433), ("10.0.0.13", 4433)]
    assert rules.counters.packets == {("routable", "ok"): 2, ("drop", "empty-datagram"): 1, ("fallback", "empty"): 1}


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (("127.0.0.1", 40001), "client-loopback"),
        (("198.51.100.7", 0), "client-port-0"),
        (("224.0.0.1", 40001), "client-multicast"),
        (("169.254.1.1", 40001), "client-link-local"),
        (VIP, "client-is-vip"),
    ],
)
def test_addresses_that_are_no_clients_are_dropped_in_both_directions(rules, client, reason):
    assert rules.from_clients([(short_packet(cid(1)), client)]) == []
    assert rules.counters.packets == {("drop", reason): 1}
    assert rules.from_backends([(wrap(SppHeader(client, VIP), b"reply"), BACKEND)]) == []
    assert rules.counters.replies == {("drop", reason): 1}


def test_replies_go_to_the_client_the_header_names(rules):
    assert rules.from_backends([(wrap(SppHeader(CLIENT, VIP), b"reply"), BACKEND)]) == [
        (b"reply", SppHeader(CLIENT, VIP))
    ]
    assert rules.counters.replies == {("sent", "ok"): 1}
    assert rules.counters.backend_packets == {("b2", "from"): 1}


@pytest.mark.parametrize("source", [("10.0.0.99", 4433), ("10.0.0.12", 4432), CLIENT])
def test_only_backends_may_reply(rules, source):
    assert rules.from_backends([(wrap(SppHeader(CLIENT, VIP), b"reply"), source)]) == []
    assert rules.counters.replies == {("drop", "stranger"): 1}


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "envelope-too-short"),
        (b"\x56\xec" + bytes(35), "envelope-too-short"),
        (b"\0" * 60, "envelope-bad-magic"),
        (wrap(SppHeader(CLIENT, VIP), b""), "empty-datagram"),
        (wrap(SppHeader(("2001:db8::7", 1), VIP), b"reply"), "client-wrong-family"),
    ],
)
def test_malformed_replies_are_dropped(rules, datagram, reason):
    assert rules.from_backends([(datagram, BACKEND)]) == []
    assert rules.counters.replies == {("drop", reason): 1}


def test_a_dual_stack_vip_serves_both_families():
    rules = ForwardingRules(table(), ("::", 443), INNER)
    for client in (CLIENT, ("2001:db8::7", 40001)):
        [(sent, destination)] = rules.from_clients([(short_packet(cid(2)), client)])
        assert rules.from_backends([(sent, destination)]) == [(short_packet(cid(2)), SppHeader(client, rules.vip))]


def test_a_wildcard_vip_knows_its_own_addresses():
    rules = ForwardingRules(table(), ("0.0.0.0", 443), INNER, is_own_ip=lambda ip: ip == "10.0.0.1")
    own, other = ("10.0.0.1", 443), ("10.0.0.2", 443)
    assert rules.from_backends([(wrap(SppHeader(own, rules.vip), b"loop"), BACKEND)]) == []
    assert rules.counters.replies == {("drop", "client-is-vip"): 1}
    assert rules.from_backends([(wrap(SppHeader(other, rules.vip), b"reply"), BACKEND)]) == [
        (b"reply", SppHeader(other, rules.vip))
    ]


@pytest.mark.parametrize(
    ("client", "named", "source"),
    [
        (CLIENT, ("192.0.2.9", 443), ("192.0.2.9", 443)),
        (CLIENT, ("192.0.2.9", 1), ("192.0.2.9", 443)),
        (CLIENT, ("0.0.0.0", 443), ("::", 443)),
        (("2001:db8::7", 40001), ("2001:db8::9", 443), ("2001:db8::9", 443)),
        (("2001:db8::7", 40001), ("::", 443), ("::", 443)),
    ],
)
def test_a_wildcard_vip_answers_from_the_address_that_the_header_names(client, named, source):
    rules = ForwardingRules(table(), ("::", 443), INNER)
    assert rules.from_backends([(wrap(SppHeader(client, named), b"x"), BACKEND)]) == [(b"x", SppHeader(client, source))]


def test_a_wildcard_vip_answers_no_client_from_the_other_family():
    rules = ForwardingRules(table(), ("::", 443), INNER)
    assert rules.from_backends([(wrap(SppHeader(CLIENT, ("2001:db8::9", 443)), b"x"), BACKEND)]) == []
    assert rules.counters.replies == {("drop", "vip-wrong-family"): 1}


def test_any_load_balancer_delivers_any_reply(rules):
    other = ForwardingRules(table(), VIP, ("10.0.0.2", 4434))
    [(sent, destination)] = rules.from_clients([(short_packet(cid(2)), CLIENT)])
    assert other.from_backends([(sent, destination)]) == [(short_packet(cid(2)), SppHeader(CLIENT, VIP))]


def test_a_new_table_takes_effect_with_the_next_datagram(rules):
    rules.table = table(unknown_server_id=UnknownServerId.DROP)
    assert rules.from_clients([(short_packet(cid(9)), CLIENT)]) == []


def test_send_failures_are_counted(rules):
    rules.send_failed(Side.INNER, "EMSGSIZE")
    assert rules.counters.send_errors == {("inner", "EMSGSIZE"): 1}

"""The scalar datapath is the oracle: same bytes, same destinations, same counters, for any input."""

from __future__ import annotations

import random
from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiclb import CidEncoder, QuicLbConfig, SppHeader, wrap
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.table import RoutingTable, UnknownServerId, build_table
from tests.property.quiclb.vector_harness import VectorHarness

VIPS = [("192.0.2.1", 443), ("2001:db8::1", 443), ("::", 443)]
INNERS = {"192.0.2.1": ("10.0.0.1", 4434), "2001:db8::1": ("fd00::1", 4434), "::": ("::", 4434)}
IPV4_CLIENTS = [
    ("198.51.100.7", 40001),
    ("198.51.100.8", 40001),
    ("198.51.100.7", 0),
    ("127.0.0.1", 40001),
    ("127.255.0.9", 1),
    ("169.254.0.1", 9),
    ("169.253.0.1", 9),
    ("224.0.0.1", 9),
    ("239.255.255.255", 9),
    ("240.0.0.1", 9),
    ("255.255.255.255", 9),
    ("255.255.0.1", 9),
    ("0.0.0.0", 9),
    ("0.0.0.1", 9),
    ("192.0.2.1", 443),
    ("192.0.2.1", 444),
]
IPV6_CLIENTS = [
    ("2001:db8::7", 40001),
    ("2001:db8::7", 0),
    ("::1", 9),
    ("::", 443),
    ("::2", 9),
    ("fe80::1", 9),
    ("febf::1", 9),
    ("fec0::1", 9),
    ("ff02::1", 9),
    ("2001:db8::1", 443),
    ("2001:db8::1", 444),
    ("64:ff9b::c000:201", 443),
]


def clients_of(vip: tuple[str, int]) -> list[tuple[str, int]]:
    return {"192.0.2.1": IPV4_CLIENTS, "2001:db8::1": IPV6_CLIENTS, "::": IPV4_CLIENTS + IPV6_CLIENTS}[vip[0]]


@lru_cache(maxsize=64)
def pool_of(seed: int) -> tuple[RoutingTable, tuple[QuicLbConfig, ...], tuple[bytes, ...]]:
    """A table drawn from a seed, its configs, and connection IDs that it may or may not route."""
    rng = random.Random(seed)
    configs = []
    for config_id in rng.sample(range(7), rng.randint(0, 7)):
        server_id_length = rng.randint(1, 15)
        longest_nonce = 19 - server_id_length
        nonce_length = min(longest_nonce, max(4, rng.choice([16 - server_id_length, rng.randint(4, longest_nonce)])))
        key = rng.randbytes(16) if rng.random() < 0.75 else None
        configs.append(QuicLbConfig(config_id, server_id_length, nonce_length, key, rng.random() < 0.7))
    vip = VIPS[seed % 3]
    backends = []
    used: set[tuple[int, bytes]] = set()
    for number in range(rng.randint(1, 12)):
        ids: dict[int, tuple[bytes, ...]] = {}
        for config in configs:
            drawn = {rng.randbytes(config.server_id_length) for _ in range(rng.choice([0, 1, 1, 1, 3]))}
            ids[config.config_id] = tuple(sorted(data for data in drawn if (config.config_id, data) not in used))
            used |= {(config.config_id, data) for data in drawn}
        has_ipv6 = vip[0] != "192.0.2.1" and (vip[0] != "::" or rng.random() < 0.5)
        address = (f"fd00::{number + 16:x}" if has_ipv6 else f"10.0.0.{number + 16}", 4433)
        state = rng.choice([BackendState.ACTIVE, BackendState.ACTIVE, BackendState.DRAINING, BackendState.DOWN])
        backends.append(Backend(f"b{number}", address, state, ids))
    table = build_table(
        configs,
        backends,
        unknown_server_id=rng.choice(list(UnknownServerId)),
        check_cid_length=rng.random() < 0.4,
        fallback_size=1021,
    )
    cids = []
    for config in configs:
        for server_id in [
            *(server_id for b in backends for server_id in b.server_ids.get(config.config_id, ())),
            rng.randbytes(config.server_id_length),
        ]:
            encoder = CidEncoder(config, server_id, rng=rng.randbytes)
            cids.append(encoder.encode_nonce(rng.randbytes(config.nonce_length)))
    return table, tuple(configs), tuple(cids)


def datagram_of(rng: random.Random, cids: tuple[bytes, ...]) -> bytes:
    """A packet around a known or random connection ID, sometimes cut, lengthened or with a bit flipped."""
    dcid = rng.choice(cids) if cids and rng.random() < 0.7 else rng.randbytes(rng.choice([0, 1, 5, 8, 17, 20, 21, 255]))
    if rng.random() < 0.3:
        dcid = (dcid + rng.randbytes(rng.randint(1, 3)))[:255]
    if rng.random() < 0.5:
        packet = bytes((rng.randint(0, 0x7F),)) + dcid + rng.randbytes(rng.randint(0, 40))
    else:
        scid = rng.randbytes(rng.choice([0, 8, 20, 255]))
        version = rng.choice([b"\0\0\0\1", b"\x6b\x33\x43\xcf", bytes(4), rng.randbytes(4)])
        head = bytes((rng.randint(0x80, 0xFF),)) + version + bytes((len(dcid),)) + dcid
        packet = (head + bytes((len(scid),)) + scid)[:400] + rng.randbytes(rng.randint(0, 40))
    for _ in range(rng.choice([0, 0, 0, 0, 1, 2])):
        client = rng.choice([IPV4_CLIENTS[0], IPV6_CLIENTS[0]])
        packet = wrap(SppHeader(client, rng.choice(VIPS)), packet)
    kind = rng.random()
    if kind < 0.2:
        packet = packet[: rng.randint(0, min(len(packet), 30))]
    elif kind < 0.3 and packet:
        place = rng.randrange(len(packet))
        packet = packet[:place] + bytes((packet[place] ^ 1 << rng.randrange(8),)) + packet[place + 1 :]
    return packet


def both(seed: int, capacity: int = 512) -> tuple[ForwardingRules, VectorHarness]:
    table, vip, is_loopback_allowed = pool_of(seed)[0], VIPS[seed % 3], seed % 2 == 1
    inner = INNERS[vip[0]]
    scalar = ForwardingRules(table, vip, inner, is_loopback_allowed=is_loopback_allowed)
    vector = VectorHarness(table, vip, inner, capacity=capacity, is_loopback_allowed=is_loopback_allowed)
    return scalar, vector


def assert_same_counters(scalar: ForwardingRules, vector: VectorHarness) -> None:
    assert vector.rules.counters == scalar.counters


@given(seed=st.integers(0, 59), entropy=st.integers(0, 2**64), count=st.integers(1, 40))
def test_clients_are_forwarded_alike(seed, entropy, count):
    scalar, vector = both(seed, capacity=40)
    rng = random.Random(entropy)
    _, _, cids = pool_of(seed)
    clients = clients_of(VIPS[seed % 3])
    batch = [(datagram_of(rng, cids), rng.choice([clients[0], rng.choice(clients)])) for _ in range(count)]
    assert vector.from_clients(batch) == scalar.from_clients(batch)
    assert_same_counters(scalar, vector)


@given(seed=st.integers(0, 59), entropy=st.integers(0, 2**64), count=st.integers(1, 40))
def test_replies_are_forwarded_alike(seed, entropy, count):
    scalar, vector = both(seed, capacity=40)
    rng = random.Random(entropy)
    batch = [reply_of(rng, seed) for _ in range(count)]
    assert vector.from_backends(batch) == scalar.from_backends(batch)
    assert_same_counters(scalar, vector)


@given(seed=st.integers(0, 59), entropy=st.integers(0, 2**64), is_ipv6=st.booleans())
def test_a_wildcard_vip_is_where_each_was_sent_to_and_answers_from_there(seed, entropy, is_ipv6):
    wildcard = ("::" if is_ipv6 else "0.0.0.0", 443)
    ours = ["192.0.2.1", "192.0.2.77", *(["2001:db8::1", "2001:db8::77"] if is_ipv6 else [])]
    backends = [Backend(f"b{number}", (f"10.0.0.{number + 16}", 4433)) for number in range(3)]
    table = build_table(pool_of(seed)[1], backends, fallback_size=1021)
    scalar = ForwardingRules(table, wildcard, ("10.0.0.1", 4434), is_own_ip=ours.__contains__)
    vector = VectorHarness(table, wildcard, ("10.0.0.1", 4434), capacity=12, is_own_ip=ours.__contains__)
    rng = random.Random(entropy)
    clients = IPV4_CLIENTS + (IPV6_CLIENTS if is_ipv6 else [])
    batch = [(datagram_of(rng, pool_of(seed)[2]), rng.choice(clients)) for _ in range(8)]
    vips = [(rng.choice([ip for ip in ours if (":" in ip) == (":" in client[0])]), 443) for _, client in batch]
    expected = [out for item, vip in zip(batch, vips, strict=True) for out in scalar.from_clients([item], vip)]
    assert vector.from_clients(batch, vips) == expected
    replies = [
        (
            wrap(SppHeader(rng.choice(IPV4_CLIENTS + IPV6_CLIENTS), (rng.choice([*ours, "0.0.0.0", "::"]), 443)), b"x"),
            b.address,
        )
        for b in backends
        for _ in range(4)
    ]
    assert vector.from_backends(replies) == scalar.from_backends(replies)
    assert_same_counters(scalar, vector)


def reply_of(rng: random.Random, seed: int) -> tuple[bytes, tuple[str, int]]:
    table, vip = pool_of(seed)[0], VIPS[seed % 3]
    client = rng.choice([clients_of(vip)[0], rng.choice(IPV4_CLIENTS + IPV6_CLIENTS)])
    reply = wrap(SppHeader(client, vip), rng.randbytes(rng.randint(0, 30)))
    if rng.random() < 0.2:
        reply = rng.choice([reply[: rng.randint(0, 38)], rng.randbytes(60), b"\x56" + reply])
    address = rng.choice(list(table.backends_by_address))
    if rng.random() < 0.1:
        address = (address[0], 4432)
    return reply, address


@given(
    seed=st.integers(0, 59),
    entropy=st.integers(0, 2**64),
    shapes=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=12),
)
def test_joined_replies_are_what_they_were_made_of(seed, entropy, shapes):
    """`shapes`: for each message how many datagrams, the length of all but the last, and that of the last."""
    scalar, vector = both(seed, capacity=12)
    rng = random.Random(entropy)
    joined, lengths, single = [], [], []
    for count, length, last in shapes:
        _, source = reply_of(rng, seed)
        clients = [rng.choice(clients_of(VIPS[seed % 3])) for _ in range(count)]
        sizes = [length] * (count - 1) + [min(last, length)]
        parts = [
            wrap(SppHeader(client, VIPS[seed % 3]), bytes(size)) for client, size in zip(clients, sizes, strict=True)
        ]
        joined.append((b"".join(parts), source))
        lengths.append(len(parts[0]) if count > 1 else 0)
        single += [(part, source) for part in parts]
    assert vector.from_backends(joined, lengths) == scalar.from_backends(single)
    # an untrusted source's message is counted once for each datagram, as if they had come alone
    assert_same_counters(scalar, vector)


@pytest.mark.parametrize("seed", range(12))
def test_a_stream_of_batches_with_a_change_of_table(seed):
    scalar, vector = both(seed)
    rng = random.Random(seed)
    clients = clients_of(VIPS[seed % 3])
    for table_seed in (seed, seed + 3, seed):
        table, _, cids = pool_of(table_seed)
        scalar.table = vector.rules.table = table
        batch = [(datagram_of(rng, cids), rng.choice(clients)) for _ in range(512)]
        assert vector.from_clients(batch) == scalar.from_clients(batch)
    assert_same_counters(scalar, vector)

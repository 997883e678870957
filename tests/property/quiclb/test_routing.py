"""Load balancers with one table agree, on any input, and the fallback moves little when the pool changes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from quiclb import SppHeader, wrap
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.routing.fallback import Maglev
from quiclb.routing.fast_path import FastPath
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.router import Drop, Routable, route
from tests.unit.quiclb.pools import CLIENT, INNER, VIP, cid, long_packet, short_packet, table

STATES = st.dictionaries(st.integers(1, 3), st.sampled_from(list(BackendState)))
CLIENTS = st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))
PACKETS = st.binary(max_size=300) | st.builds(
    lambda packet, number: packet(cid(number)), st.sampled_from([short_packet, long_packet]), st.integers(1, 9)
)
NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=12, unique=True)
SIZE = 2039


def backends(names: list[str]) -> list[Backend]:
    return [Backend(name, ("10.0.0.1", port)) for port, name in enumerate(names, start=1)]


@given(states=STATES, datagram=PACKETS, client=CLIENTS, data=st.data())
@settings(deadline=None)
def test_two_routers_with_one_table_agree_and_never_raise(states, datagram, client, data):
    cut = datagram[: data.draw(st.integers(0, len(datagram)))]
    decision = route(table(states), cut, client, VIP)
    assert decision == route(table(states), cut, client, VIP)
    if not isinstance(decision, Drop):
        assert decision.backend.state is not BackendState.DOWN


@given(states=STATES, datagram=PACKETS, checks=st.booleans(), cut=st.integers(0, 40))
@settings(deadline=None)
def test_the_shortcut_says_nothing_that_the_router_does_not(states, datagram, checks, cut):
    made = table(states, check_cid_length=checks)
    found = FastPath(made, {backend.name: backend for backend in made.pool}).find(datagram[:cut])
    decision = route(made, datagram[:cut], CLIENT, VIP)
    assert found is None or (isinstance(decision, Routable) and decision.backend is found)


@given(batch=st.lists(st.tuples(PACKETS, CLIENTS), max_size=5), seed=st.binary(max_size=80))
@settings(deadline=None)
def test_a_load_balancer_survives_anything_from_either_side(batch, seed):
    rules = ForwardingRules(TABLE, VIP, INNER)
    out = rules.from_clients(batch)
    assert rules.counters.packets.total() == len(batch)
    assert len(out) == rules.counters.backend_packets.total()
    backend = ("10.0.0.11", 4433)
    headed = wrap(SppHeader(CLIENT, VIP), b"")[: len(seed)] + seed
    replies = rules.from_backends([(seed, backend), (headed, backend), *batch])
    assert rules.counters.replies.total() == 2 + len(batch)
    assert len(replies) == rules.counters.replies["sent", "ok"]


TABLE = table()


@given(names=NAMES)
@settings(deadline=None, max_examples=40)
def test_shares_are_balanced(names):
    shares = Counter(Maglev(backends(names), SIZE).slots)
    assert len(shares) == len(names)
    assert max(shares.values()) - min(shares.values()) <= 1


@given(names=NAMES, data=st.data())
@settings(deadline=None, max_examples=40)
def test_a_backend_that_leaves_moves_few_flows_of_others(names, data):
    gone = data.draw(st.sampled_from(names))
    kept = [name for name in names if name != gone]
    before, after = Maglev(backends(names), SIZE), Maglev(backends(kept), SIZE)
    names, kept = sorted(names), sorted(kept)
    moved = sum(
        1 for old, new in zip(before.slots, after.slots, strict=True) if names[old] != gone and names[old] != kept[new]
    )
    assert moved <= 0.25 * SIZE

"""Half-open connections: max-min fair shares of the places by network, and their timeout."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.endpoint.admission.half_open import HalfOpenTable


def test_no_connection_is_evicted_while_there_are_places() -> None:
    table: HalfOpenTable[str] = HalfOpenTable(3)
    assert [table.add(name, b"a", 0.0) for name in "xyz"] == [None, None, None]
    assert (len(table), table.held_by(b"a"), table.held_by(b"b")) == (3, 3, 0)


def test_a_newcomer_of_another_network_evicts_the_oldest_of_the_largest_holder() -> None:
    table: HalfOpenTable[str] = HalfOpenTable(4)
    for at, (name, network) in enumerate([("b1", b"b"), ("a1", b"a"), ("a2", b"a"), ("a3", b"a")]):
        table.add(name, network, at)
    assert table.add("c1", b"c", 9.0) == "a1"
    assert table.add("c2", b"c", 9.0) == "a2"


def test_a_newcomer_of_the_largest_holder_evicts_the_oldest_of_its_own_network() -> None:
    table: HalfOpenTable[str] = HalfOpenTable(3)
    for at, (name, network) in enumerate([("b1", b"b"), ("a1", b"a"), ("a2", b"a")]):
        table.add(name, network, at)
    assert table.add("a3", b"a", 9.0) == "a1"
    assert table.held_by(b"b") == 1


def test_among_equal_holders_the_oldest_connection_is_evicted() -> None:
    table: HalfOpenTable[str] = HalfOpenTable(2)
    table.add("a1", b"a", 0.0)
    table.add("b1", b"b", 1.0)
    assert table.add("c1", b"c", 2.0) == "a1"


def test_connections_expire_in_order_of_age_and_once() -> None:
    table: HalfOpenTable[str] = HalfOpenTable(9)
    for at, name in enumerate("xyz"):
        table.add(name, b"a", at)
    assert table.oldest_at == 0.0
    assert table.take_expired(4.0, 3.0) == ["x", "y"]
    assert (table.take_expired(4.0, 3.0), table.oldest_at, len(table)) == ([], 2.0, 1)
    assert (table.remove("x"), table.remove("z"), table.oldest_at) == (False, True, None)
    assert table.held_by(b"a") == 0


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60), st.integers(1, 6))
def test_no_network_loses_a_place_to_one_that_holds_more(steps: list[tuple[str, bool]], places: int) -> None:
    table: HalfOpenTable[int] = HalfOpenTable(places)
    held: dict[int, str] = {}
    for number, (network, is_added) in enumerate(steps):
        if not is_added and held:
            gone = next(iter(held))
            assert table.remove(gone)
            del held[gone]
            continue
        held[number] = network
        before = Counter(held.values())
        evicted = table.add(number, network.encode(), float(number))
        assert (evicted is None) == (len(held) <= places)
        if evicted is not None:
            assert evicted != number or places == 0
            assert before[held.pop(evicted)] == max(before.values())
        assert len(table) == len(held) <= places

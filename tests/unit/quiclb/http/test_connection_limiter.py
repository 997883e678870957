"""Who gives way when more connections come than there is room for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiclb.http.connection_limiter import Admission, ConnectionLimiter, ConnectionLimits


def limiter(total: int = 8, per_network: int = 6, waiting: int = 4, per_waiting: int = 3) -> ConnectionLimiter[str]:
    return ConnectionLimiter(ConnectionLimits(total, per_network, waiting, per_waiting))


def test_a_silent_network_pays_with_its_own_longest_waiting_connection() -> None:
    connections = limiter()
    for name in ("a1", "a2", "a3"):
        assert connections.admit(name, "a") == Admission()
    assert connections.admit("a4", "a") == Admission(evicted="a1")
    assert (len(connections), connections.waiting_count) == (3, 3)


def test_a_newcomer_takes_the_place_of_the_network_with_the_most_waiting() -> None:
    connections = limiter()
    for name, network in (("b1", "b"), ("a1", "a"), ("a2", "a"), ("c1", "c")):
        connections.admit(name, network)
    assert connections.admit("d1", "d") == Admission(evicted="a1")


def test_established_connections_are_never_evicted() -> None:
    connections = limiter(total=2, per_network=2)
    for name in ("a1", "a2"):
        connections.admit(name, "a")
        connections.establish(name)
    assert connections.admit("b1", "b") == Admission(refused="full")
    connections.wait("a1")
    assert connections.admit("b1", "b") == Admission(evicted="a1")


def test_one_network_cannot_take_all_places() -> None:
    connections = limiter(total=4, per_network=2)
    for name in ("a1", "a2"):
        connections.admit(name, "a")
        connections.establish(name)
    assert connections.admit("a3", "a") == Admission(refused="address_limit")
    assert connections.admit("b1", "b") == Admission()


def test_a_quarter_waits_and_one_network_has_three_quarters() -> None:
    assert ConnectionLimits.share(864) == ConnectionLimits(864, 648, 216, 54)
    assert ConnectionLimits.share(4096, 10) == ConnectionLimits(4096, 10, 256, 64)
    assert ConnectionLimits.share(1) == ConnectionLimits(1, 1, 1, 1)


@given(st.lists(st.tuples(st.sampled_from("aewl"), st.integers(0, 9), st.integers(0, 2)), max_size=60))
def test_counts_stay_within_the_limits_and_reach_zero(steps: list[tuple[str, int, int]]) -> None:
    connections: ConnectionLimiter[int] = ConnectionLimiter(ConnectionLimits(5, 4, 3, 2))
    inside: set[int] = set()
    for step, name, network in steps:
        match step:
            case "a" if name not in inside:
                admission = connections.admit(name, network)
                if admission.refused is None:
                    inside.add(name)
                if admission.evicted is not None:
                    inside.remove(admission.evicted)
            case "e":
                connections.establish(name)
            case "w":
                connections.wait(name)
            case "l":
                connections.leave(name)
                inside.discard(name)
        assert len(connections) == len(inside) <= 5
        assert 0 <= connections.waiting_count <= len(inside)
    for name in inside:
        connections.leave(name)
    assert (len(connections), connections.waiting_count) == (0, 0)


def test_a_connection_that_left_is_unknown() -> None:
    connections = limiter()
    connections.admit("a1", "a")
    connections.leave("a1")
    connections.leave("a1")
    connections.establish("a1")
    connections.wait("a1")
    assert (len(connections), connections.waiting_count, connections.longest_waiting()) == (0, 0, None)


@pytest.mark.parametrize("count", [1, 3])
def test_the_longest_waiting_is_the_oldest_of_the_largest(count: int) -> None:
    connections = limiter()
    for number in range(count):
        connections.admit(f"a{number}", "a")
    assert connections.longest_waiting() == "a0"

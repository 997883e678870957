from __future__ import annotations

import pytest

from quiclb import ConfigError, QuicLbConfig
from quiclb.backends.discovery import BackendSet, ServerIdPattern, backends_at, join
from quiclb.routing.pool import Backend, BackendState

V4, V6 = ("10.1.2.3", 4433), ("2001:db8::a:b", 4433)
CONFIGS = (QuicLbConfig(0, 4, 12), QuicLbConfig(2, 8, 7))


@pytest.mark.parametrize(
    ("pattern", "address", "server_id"),
    [
        ("{address:4}", V4, "0a010203"),
        ("{address:2}", V4, "0203"),
        ("{address:8}", V4, "000000000a010203"),
        ("{address:4}", V6, "000a000b"),
        ("{address:15}", V6, "010db80000000000000000000a000b"),
        ("A1b2{address:2}", V4, "a1b20203"),
        ("{address:4}{port}", V4, "0a0102031151"),
        ("00{port}ff", V6, "001151ff"),
        ("ed79", V4, "ed79"),
    ],
)
def test_server_ids_follow_from_addresses(pattern, address, server_id):
    parsed = ServerIdPattern.parse(pattern)
    assert parsed.apply(address).hex() == server_id
    assert parsed.length_bytes == len(server_id) // 2


@pytest.mark.parametrize(
    "text", ["", "abc", "{address}", "{address:0}", "{address:16}", "{host}", "xy", "{port", "a b"]
)
def test_what_is_no_pattern_is_refused(text):
    with pytest.raises(ConfigError, match="a server ID pattern holds"):
        ServerIdPattern.parse(text)


def test_addresses_become_backends_named_after_them_in_any_order():
    found = backends_at([V6, V4, V4], CONFIGS, {})
    assert [each.name for each in found] == ["10.1.2.3:4433", "[2001:db8::a:b]:4433"]
    assert found[0].server_ids == {0: (bytes((10, 1, 2, 3)),), 2: (bytes((0, 0, 0, 0, 10, 1, 2, 3)),)}
    assert found == backends_at([V4, V6], CONFIGS, {})
    [patterned] = backends_at([V4], CONFIGS, {2: "ffff0000{address:4}"})
    assert patterned.server_ids == {2: (bytes.fromhex("ffff00000a010203"),)}


def test_what_leaves_an_answer_drains_for_a_while_and_may_come_back():
    backend_set = BackendSet(linger_s=300)
    a, b = Backend("a", V4), Backend("b", V6)
    backend_set.update([a, b], 0)
    assert backend_set.backends() == [a, b]
    backend_set.update([a], 10)
    assert not backend_set.forget(309.9)
    [_, leaving] = backend_set.backends()
    assert (leaving.name, leaving.state) == ("b", BackendState.DRAINING)
    backend_set.update([a, b], 200)
    assert backend_set.backends() == [a, b]
    assert not backend_set.forget(400)
    backend_set.update([a], 400)
    assert backend_set.forget(700)
    assert backend_set.backends() == [a]


def test_without_a_grace_period_it_is_gone_at_once_and_down_stays_down():
    backend_set = BackendSet(linger_s=0)
    backend_set.update([Backend("a", V4)], 0)
    backend_set.update([], 1)
    assert backend_set.backends() == []
    backend_set = BackendSet(linger_s=9)
    backend_set.update([Backend("a", V4, BackendState.DOWN)], 0)
    backend_set.update([], 1)
    assert [each.state for each in backend_set.backends()] == [BackendState.DOWN]


def with_ids(name: str, last: int, **server_ids: bytes) -> Backend:
    ids = {int(key[1:]): (value,) for key, value in server_ids.items()}
    return Backend(name, ("10.0.0.1", last), server_ids=ids)


def test_a_listed_backend_wins_over_the_same_one_found():
    listed = Backend("by hand", V4, BackendState.DRAINING)
    joined, faults = join(CONFIGS, [listed], backends_at([V4, V6], CONFIGS, {}))
    assert [each.name for each in joined] == ["by hand", "[2001:db8::a:b]:4433"]
    assert faults == ()


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (with_ids("a", 9), "backend 'a' is left out: the name is taken"),
        (
            with_ids("c", 9, _0=b"aaaa"),
            "server ID 61616161 of backend 'c' in config 0 is left out: it is that of 'a'",
        ),
        (
            with_ids("c", 9, _0=b"ccc"),
            "server ID 636363 of backend 'c' in config 0 is left out: the config expects 4 bytes",
        ),
        (
            with_ids("c", 9, _5=b"cccc"),
            "server ID 63636363 of backend 'c' in config 5 is left out: the config does not exist",
        ),
    ],
)
def test_what_does_not_fit_is_left_out_and_the_rest_stays(found, fault):
    listed = with_ids("a", 1, _0=b"aaaa")
    good = with_ids("d", 10, _0=b"dddd", _2=b"dddddddd")
    joined, faults = join(CONFIGS, [listed], [found, good])
    assert faults == (fault,)
    assert (joined[0], joined[-1]) == (listed, good)
    assert {owned for each in joined for owned in each.owned_server_ids()} == {
        (0, b"aaaa"),
        (0, b"dddd"),
        (2, b"d" * 8),
    }


def test_two_sources_may_find_one_backend():
    twice = backends_at([V4], CONFIGS, {}) * 2
    joined, faults = join(CONFIGS, [], twice)
    assert (len(joined), faults) == (1, ())

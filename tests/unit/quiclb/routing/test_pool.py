from __future__ import annotations

import pytest

from quiclb import ConfigError
from quiclb.routing.pool import Backend, BackendState, Pool

A = ("10.0.0.1", 4433)
B = ("10.0.0.2", 4433)


def test_order_is_by_name():
    assert [b.name for b in Pool([Backend("b", B), Backend("a", A)])] == ["a", "b"]


def test_selection_by_state():
    pool = Pool([Backend("a", A, BackendState.DRAINING), Backend("b", B)])
    assert [b.name for b in pool.in_state(BackendState.ACTIVE)] == ["b"]
    assert len(pool) == 2


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (Backend("a", B), "same name: a"),
        (Backend("b", A), r"same address: 10\.0\.0\.1:4433"),
        (Backend("b", B, server_ids={0: (b"\1\2",)}), "same server ID: 0102 in config 0"),
    ],
)
def test_what_must_be_unique(second, message):
    with pytest.raises(ConfigError, match=message):
        Pool([Backend("a", A, server_ids={0: (b"\1\2",)}), second])


def test_one_server_id_may_serve_in_two_configs():
    Pool([Backend("a", A, server_ids={0: (b"\1",)}), Backend("b", B, server_ids={1: (b"\1",)})])

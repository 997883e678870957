from __future__ import annotations

import pytest

from quiclb import ConfigError, QuicLbConfig
from quiclb.routing.pool import Backend
from quiclb.routing.table import build_table

CONFIG = QuicLbConfig(2, 8, 8)


@pytest.mark.parametrize(
    ("server_ids", "message"),
    [
        ({2: (b"abc",)}, "backend 'a': server ID is 3 bytes, config 2 expects 8"),
        ({1: (b"abc",)}, "backend 'a' has a server ID in config 1, which does not exist"),
    ],
)
def test_server_ids_must_fit_their_config(server_ids, message):
    with pytest.raises(ConfigError, match=message):
        build_table([CONFIG], [Backend("a", ("10.0.0.1", 1), server_ids=server_ids)])


def test_maps_are_per_config():
    backend = Backend("a", ("10.0.0.1", 1), server_ids={2: (b"12345678",)})
    table = build_table([CONFIG, QuicLbConfig(3, 8, 8)], [backend], fallback_size=7)
    assert table.backends_by_server_id == {(2, b"12345678"): backend}
    assert table.backends_by_address == {("10.0.0.1", 1): backend}

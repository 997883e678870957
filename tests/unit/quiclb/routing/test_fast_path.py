from __future__ import annotations

import pytest

from quiclb.routing.fast_path import FastPath
from quiclb.routing.pool import BackendState
from tests.unit.quiclb.pools import CONFIGS, cid, long_packet, short_packet, table


def fast_path(made):
    return FastPath(made, {backend.name: backend.name for backend in made.pool})


@pytest.mark.parametrize("config", CONFIGS)
def test_a_routable_short_header_names_its_backend(config):
    assert fast_path(table()).find(short_packet(cid(2, config))) == "b2"


@pytest.mark.parametrize(
    "datagram", [b"", b"\x40", short_packet(cid(2))[:10], short_packet(cid(9)), short_packet(b"\xe0" * 20)]
)
def test_what_is_not_routable_is_left_to_the_router(datagram):
    assert fast_path(table()).find(datagram) is None


def test_long_headers_are_left_to_the_router():
    assert fast_path(table()).find(long_packet(cid(2))) is None


def test_a_backend_that_is_down_has_no_shortcut():
    assert fast_path(table({2: BackendState.DOWN})).find(short_packet(cid(2))) is None
    assert fast_path(table({2: BackendState.DRAINING})).find(short_packet(cid(2))) == "b2"


def test_where_lengths_are_checked_there_are_none():
    assert fast_path(table(check_cid_length=True)).find(short_packet(cid(2))) is None

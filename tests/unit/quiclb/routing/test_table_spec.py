from __future__ import annotations

import pytest

from quiclb import ConfigError, route
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.table import UnknownServerId
from quiclb.routing.table_spec import TableSpec
from tests.unit.quiclb.pools import CLIENT, CONFIGS, KEY, VIP, backend, cid, short_packet

SPEC = TableSpec(
    CONFIGS,
    (backend(1), backend(2, BackendState.DRAINING), backend(3, BackendState.DOWN)),
    UnknownServerId.DROP,
    version=7,
)


def test_a_spec_survives_the_way_to_another_process():
    line = SPEC.encode()
    assert b"\n" not in line
    assert TableSpec.decode(line) == SPEC


def test_what_is_no_spec_is_refused():
    for line in (b"", b"{}", b'{"configs": [{"config_id": 9}], "backends": []}', SPEC.encode()[:-2]):
        with pytest.raises(ConfigError, match="not a table"):
            TableSpec.decode(line)


def test_building_gives_the_table_and_its_version():
    table = TableSpec.decode(SPEC.encode()).build()
    assert table.version == 7
    assert table.unknown_server_id is UnknownServerId.DROP
    assert {backend.name for backend in table.backends_by_server_id.values()} == {"b1", "b2", "b3"}


def test_the_former_name_of_the_version_is_deprecated():
    table = SPEC.build()
    for versioned in (SPEC, table, table.as_data()):
        with pytest.warns(DeprecationWarning, match="use `version`"):
            assert versioned.generation == 7


def test_the_cheap_check_finds_what_building_would():
    for backends in (
        (backend(1), backend(1)),
        (Backend("a", CLIENT, server_ids={0: (b"\1",)}),),
        (Backend("a", CLIENT, server_ids={5: (b"\1",)}),),
    ):
        spec = TableSpec(CONFIGS, backends)
        with pytest.raises(ConfigError) as cheap:
            spec.check()
        with pytest.raises(ConfigError) as whole:
            spec.build()
        assert str(cheap.value) == str(whole.value)
    with pytest.raises(ConfigError, match="config ID 0 is given twice"):
        TableSpec(CONFIGS + CONFIGS[:1], ()).check()


def test_no_key_shows_in_a_spec():
    assert KEY.hex() not in repr(SPEC)
    assert repr(KEY)[2:-1] not in repr(SPEC)


def test_a_backend_may_have_several_server_ids():
    two = Backend("two", ("10.0.0.20", 4433), server_ids={0: (bytes((1,)) * 4, bytes((2,)) * 4)})
    table = TableSpec(CONFIGS, (two,)).build()
    for number in (1, 2):
        assert route(table, short_packet(cid(number)), CLIENT, VIP).backend is two

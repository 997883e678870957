"""The table of connection IDs."""

from __future__ import annotations

from voice_gateway.endpoint.cids.cid_table import CidTable


class Each:
    """A connection, by identity."""


def test_a_connection_is_found_by_each_of_its_ids_until_that_is_removed() -> None:
    table, connection = CidTable[Each](), Each()
    table.add(b"a", connection)
    table.add(b"b", connection)
    table.remove(b"a", connection)
    assert (table.find(b"a"), table.find(b"b")) == (None, connection)


def test_removing_a_connection_leaves_an_id_that_another_one_took_over() -> None:
    table, first, second = CidTable[Each](), Each(), Each()
    table.add(b"a", first)
    table.add(b"b", first)
    table.add(b"a", second)
    table.remove_all(first)
    assert (table.find(b"a"), table.find(b"b")) == (second, None)


def test_removing_what_is_not_there_does_nothing() -> None:
    table, connection = CidTable[Each](), Each()
    table.remove(b"a", connection)
    table.remove_all(connection)
    table.add(b"a", connection)
    table.clear()
    assert table.find(b"a") is None

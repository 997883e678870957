from __future__ import annotations

import asyncio

import pytest

from quiclb.daemon.processes.messages import (
    PREFIX_BYTES,
    Ask,
    LogChoice,
    Ready,
    Refused,
    Report,
    Serve,
    Setup,
    Stop,
    Table,
    encode,
    read_downward,
    read_upward,
)
from quiclb.datapath.counters import DatapathCounters
from quiclb.routing.table_spec import TableSpec
from tests.unit.quiclb.pools import CONFIGS, backend


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


SETUP = Setup([(4, 5), (6, 7)], "asyncio", True, False, 2.5, LogChoice())
SPEC = TableSpec(CONFIGS, (backend(1), backend(2)), version=7)


@pytest.mark.parametrize("message", [SETUP, Table(SPEC), Serve(1), Ask(), Stop()], ids=lambda m: type(m).__name__)
async def test_what_the_supervisor_says_arrives(message):
    assert await read_downward(reader_of(encode(message))) == message


async def test_messages_keep_their_order_and_the_end_is_none():
    refused = Refused(("10.0.0.1", 4433))
    reader = reader_of(encode(Ready()) + encode(refused) + encode(Report.of(DatapathCounters())))
    assert isinstance(await read_upward(reader), Ready)
    assert await read_upward(reader) == refused
    assert isinstance(await read_upward(reader), Report)
    assert await read_upward(reader) is None


@pytest.mark.parametrize("cut", [1, PREFIX_BYTES, PREFIX_BYTES + 3])
async def test_a_message_cut_by_the_death_of_its_sender_is_the_end(cut):
    assert await read_downward(reader_of(encode(Stop())[:cut])) is None


async def test_counters_survive_the_way():
    counters = DatapathCounters()
    counters.packets["drop", "empty-datagram"] = 2
    counters.replies["sent", "ok"] = 3
    counters.backend_packets["b1", "to"] = 5
    counters.backend_bytes["b1", "to"] = 7
    counters.send_errors["inner", "EMSGSIZE"] = 11
    report = await read_upward(reader_of(encode(Report.of(counters))))
    assert isinstance(report, Report)
    assert report.counters() == counters
    total = report.counters()
    total.add(counters)
    assert total.backend_bytes == {("b1", "to"): 14}
    assert total.send_errors == {("inner", "EMSGSIZE"): 22}

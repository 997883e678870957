from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from quiclb.cli.scrape import scrape
from quiclb.daemon.metrics import MAX_CONNECTIONS, MetricsServer, TrafficCollector, collector_renderer
from quiclb.datapath.base import DatapathSetup, Side
from quiclb.datapath.counters import DatapathCounters
from quiclb.datapath.memory import MemoryDatapath
from quiclb.errors import ScrapeError
from quiclb.net.address import Address
from quiclb.routing.table import RoutingTable
from tests.unit.quiclb.pools import CLIENT, INNER, VIP, cid, short_packet, table


@dataclass
class Shown:
    """What a `DatapathHost` shows."""

    table: RoutingTable
    counters: DatapathCounters

    def receive_drops(self, side: Side) -> int | None:
        return None


async def rendered() -> str:
    datapath = MemoryDatapath()
    await datapath.start(DatapathSetup(VIP, INNER))
    datapath.install(table())
    datapath.client_sends(short_packet(cid(3)), CLIENT)
    datapath.client_sends(b"", CLIENT)
    datapath.backend_sends(b"", ("10.9.9.9", 1))
    datapath.send_failed(Side.INNER, "EMSGSIZE")
    return collector_renderer(TrafficCollector(Shown(table(), datapath.counters)))().decode()


@pytest.mark.parametrize(
    "line",
    [
        'quiclb_packets_total{decision="routable",reason="ok"} 1.0',
        'quiclb_packets_total{decision="drop",reason="empty-datagram"} 1.0',
        'quiclb_replies_total{reason="stranger",result="drop"} 1.0',
        'quiclb_backend_packets_total{backend="b3",direction="to"} 1.0',
        'quiclb_send_errors_total{error="EMSGSIZE",side="inner"} 1.0',
        'quiclb_receive_drops_total{side="vip"} 0.0',
        'quiclb_backends{state="active"} 3.0',
        "quiclb_table_version 0.0",
        "quiclb_table_generation 0.0",
    ],
)
async def test_every_counter_is_exposed(line):
    assert line in (await rendered()).splitlines()


async def fetch(address, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    server = MetricsServer(lambda: b"body\n", hosts=["*.pool.example"])
    yield await server.start(("127.0.0.1", 0))
    await server.stop()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics HTTP/1.1", b"HTTP/1.1 200 OK"),
        (b"GET /metrics?name=x HTTP/1.1", b"HTTP/1.1 200 OK"),
        (b"GET / HTTP/1.1", b"HTTP/1.1 404"),
        (b"GET //[ HTTP/1.1", b"HTTP/1.1 404"),
        (b"\xff\0", b"HTTP/1.1 400"),
        (b"x" * 20000, b""),
    ],
)
async def test_the_endpoint_answers_scrapes_and_nothing_else(address, request_line, status):
    response = await fetch(address, request_line + b"\r\nHost: 127.0.0.1:9100\r\n\r\n")
    assert response.startswith(status)
    assert (b"\nbody\n" in response) == (status == b"HTTP/1.1 200 OK")


async def test_a_405_names_the_allowed_methods(address):
    """RFC 9110 section 15.5.6."""
    response = await fetch(address, b"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD\r\n" in response


async def test_a_foreign_host_gets_421_that_names_the_setting(address):
    response = await fetch(address, b"GET /metrics HTTP/1.1\r\nHost: attacker.example\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 421 ")
    assert b"forwarder.metrics_hosts" in response
    response = await fetch(address, b"GET /metrics HTTP/1.1\r\nHost: lb-1.pool.example\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 200 ")


async def test_slow_heads_beyond_the_limit_make_room_for_a_scrape(address):
    slow = [await asyncio.open_connection(*address) for _ in range(MAX_CONNECTIONS + 8)]
    response = await fetch(address, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 200 ")
    for _, writer in slow:
        writer.close()


async def test_a_defect_closes_one_connection_and_is_counted(capsys):
    answers: Iterator[bytes | Exception] = iter([b"", ValueError("a defect"), b""])

    def render() -> bytes:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    server = MetricsServer(render)
    address = await server.start(("127.0.0.1", 0))
    request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert b"quiclb_metrics_failures_total 0.0" in await fetch(address, request)
    assert await fetch(address, request) == b""
    assert b"quiclb_metrics_failures_total 1.0" in await fetch(address, request)
    assert "metrics_request_failed" in capsys.readouterr().out
    await server.stop()


async def test_a_scrape_error_quotes_what_the_endpoint_says(address):
    """A refused Host names its setting, a wrong path the right one."""
    with pytest.raises(ScrapeError, match="404 there is: /metrics"):
        await scrape(f"http://{address[0]}:{address[1]}/other")

from __future__ import annotations

import asyncio

import pytest

from quiclb.datapath.base import Side
from quiclb.datapath.memory import MemoryDatapath
from quiclb.forwarder import ForwardingCore
from quiclb.metrics import ForwarderCollector, MetricsServer, collector_renderer
from tests.unit.quiclb.pools import CLIENT, INNER, VIP, cid, short_packet, table


def rendered() -> str:
    datapath = MemoryDatapath(VIP, INNER)
    core = ForwardingCore(table(), VIP, INNER)
    datapath.serve(core)
    datapath.client_sends(short_packet(cid(3)), CLIENT)
    datapath.client_sends(b"", CLIENT)
    datapath.backend_sends(b"", ("10.9.9.9", 1))
    core.send_failed(Side.INNER, "EMSGSIZE")
    return collector_renderer(ForwarderCollector(core, datapath))().decode()


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
    ],
)
def test_every_counter_is_exposed(line):
    assert line in rendered().splitlines()


async def fetch(address, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    response = await reader.read()
    writer.close()
    return response


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics HTTP/1.1", b"HTTP/1.1 200 OK"),
        (b"GET / HTTP/1.1", b"HTTP/1.1 404"),
        (b"POST /metrics HTTP/1.1", b"HTTP/1.1 405"),
        (b"\xff\0", b"HTTP/1.1 405"),
        (b"x" * 20000, b""),
    ],
)
async def test_the_endpoint_answers_scrapes_and_nothing_else(request_line, status):
    server = MetricsServer(lambda: b"body")
    address = await server.start(("127.0.0.1", 0))
    try:
        try:
            response = await fetch(address, request_line + b"\r\n\r\n")
        except ConnectionResetError:
            response = b""
        assert response.startswith(status)
        assert response.endswith(b"body") == (status == b"HTTP/1.1 200 OK")
    finally:
        await server.stop()

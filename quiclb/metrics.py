"""The forwarder's counters as Prometheus metrics, served by the event loop itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from quiclb.address import Address, format_address
from quiclb.binding import explain_refusal
from quiclb.counters import ForwarderCounters
from quiclb.datapath.base import Datapath, Side
from quiclb.errors import StartError
from quiclb.forwarder import ForwardingCore

REQUEST_TIMEOUT_S = 5.0
MAX_REQUEST_OCTETS = 8192


class ForwarderCollector(Collector):
    """Reads the counters when scraped; register it in a `CollectorRegistry`."""

    def __init__(self, core: ForwardingCore, datapath: Datapath) -> None:
        self._core = core
        self._datapath = datapath

    def collect(self) -> Iterator[Metric]:
        counters: ForwarderCounters = self._core.counters
        yield _family("quiclb_packets", "Client datagrams by decision.", ("decision", "reason"), counters.packets)
        yield _family("quiclb_replies", "Backend datagrams by result.", ("result", "reason"), counters.replies)
        yield _family(
            "quiclb_backend_packets",
            "Datagrams to and from each backend.",
            ("backend", "direction"),
            counters.backend_packets,
        )
        yield _family("quiclb_send_errors", "Datagrams the kernel refused.", ("side", "error"), counters.send_errors)
        drops = {(side.value,): self._datapath.receive_drops(side) or 0 for side in Side}
        yield _family("quiclb_receive_drops", "Datagrams lost to a full receive queue.", ("side",), drops)
        backends = GaugeMetricFamily("quiclb_backends", "Backends by state.", labels=("state",))
        for state, count in Counter(backend.state for backend in self._core.table.pool).items():
            backends.add_metric((state,), count)
        yield backends


class MetricsServer:
    """Answers `GET /metrics`. `render` returns the body; `collector_renderer` makes one."""

    def __init__(self, render: Callable[[], bytes]) -> None:
        self._render = render
        self._server: asyncio.Server | None = None

    async def start(self, address: Address) -> Address:
        """Listen and return the address really bound; raises `StartError`."""
        try:
            self._server = await asyncio.start_server(self._answer, *address, limit=MAX_REQUEST_OCTETS)
        except OSError as error:
            raise StartError(f"cannot serve metrics on {format_address(address)}: {explain_refusal(error)}") from None
        bound = self._server.sockets[0].getsockname()
        return (bound[0], bound[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(request))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            writer.close()

    def _response(self, request: bytes) -> bytes:
        target = request.split(b"\r\n", 1)[0].split(b" ")
        if target[:1] != [b"GET"]:
            return _http("405 Method Not Allowed", b"")
        if target[1:2] != [b"/metrics"]:
            return _http("404 Not Found", b"")
        return _http("200 OK", self._render())


def collector_renderer(collector: Collector) -> Callable[[], bytes]:
    """Return what renders this collector in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(collector)
    return lambda: generate_latest(registry)


def _family(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric([str(part) for part in key], value)
    return family


def _http(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE_PLAIN_0_0_4}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body

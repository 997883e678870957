"""The forwarder's counters as Prometheus metrics, served by the event loop itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
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
from quiclb.pool import Backend

REQUEST_TIMEOUT_S = 5.0
MAX_REQUEST_OCTETS = 8192

PACKETS_HELP = (
    "Client datagrams. decision: routable (by connection ID), fallback (by 4-tuple) or drop; reason: ok, or why the "
    "connection ID named no backend, or why nobody may have the datagram."
)
REPLIES_HELP = "Backend datagrams. result: sent or drop; a stranger is a sender that is no backend of the table."
BACKEND_PACKETS_HELP = "Datagrams to and from each backend; a backend that left the table is forgotten."
BACKEND_BYTES_HELP = "Octets of UDP payload to and from each backend, without the envelope."
SEND_ERRORS_HELP = "Datagrams the kernel refused; EMSGSIZE: too large for the path to the backend or client."
RECEIVE_DROPS_HELP = "Datagrams lost because the socket's receive queue was full: the forwarder is overloaded."
GENERATION_HELP = "Number of the table in use; every change of configs, backends or their states adds one."


class ForwarderCollector(Collector):
    """Reads the counters when scraped; register it in a `CollectorRegistry`."""

    def __init__(self, core: ForwardingCore, datapath: Datapath) -> None:
        self._core = core
        self._datapath = datapath

    def collect(self) -> Iterator[Metric]:
        drops = {side: self._datapath.receive_drops(side) or 0 for side in Side}
        table = self._core.table
        yield from traffic_families(self._core.counters, drops)
        yield from table_families(table.generation, len(table.configs), table.pool)


def traffic_families(counters: ForwarderCounters, receive_drops: Mapping[Side, int]) -> Iterator[Metric]:
    """What was forwarded and what was not."""
    for name, text, labels, totals in (
        ("packets", PACKETS_HELP, ("decision", "reason"), counters.packets),
        ("replies", REPLIES_HELP, ("result", "reason"), counters.replies),
        ("backend_packets", BACKEND_PACKETS_HELP, ("backend", "direction"), counters.backend_packets),
        ("backend_bytes", BACKEND_BYTES_HELP, ("backend", "direction"), counters.backend_octets),
        ("send_errors", SEND_ERRORS_HELP, ("side", "error"), counters.send_errors),
    ):
        yield counter_family(f"quiclb_{name}", text, labels, totals)
    drops = {(side.value,): count for side, count in receive_drops.items()}
    yield counter_family("quiclb_receive_drops", RECEIVE_DROPS_HELP, ("side",), drops)


def table_families(generation: int, config_count: int, backends: Iterable[Backend]) -> Iterator[Metric]:
    """What it is forwarded by."""
    yield GaugeMetricFamily("quiclb_table_generation", GENERATION_HELP, value=generation)
    yield GaugeMetricFamily("quiclb_configs", "QUIC-LB configs in the table.", value=config_count)
    states = GaugeMetricFamily("quiclb_backends", "Backends in the table by state.", labels=("state",))
    for state, count in Counter(backend.state for backend in backends).items():
        states.add_metric((state,), count)
    yield states


class MetricsServer:
    """Answers `GET /metrics`. `render` returns the body, see `collector_renderer`; `refresh` is awaited before it."""

    def __init__(self, render: Callable[[], bytes], refresh: Callable[[], Awaitable[None]] | None = None) -> None:
        self._render = render
        self._refresh = refresh
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
                writer.write(await self._response(request))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _response(self, request: bytes) -> bytes:
        target = request.split(b"\r\n", 1)[0].split(b" ")
        if target[:1] != [b"GET"]:
            return _http("405 Method Not Allowed", b"")
        if target[1:2] != [b"/metrics"]:
            return _http("404 Not Found", b"")
        if self._refresh is not None:
            await self._refresh()
        return _http("200 OK", self._render())


def collector_renderer(*collectors: Collector) -> Callable[[], bytes]:
    """Return what renders these collectors in the Prometheus text format."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return lambda: generate_latest(registry)


def counter_family(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, int]) -> Metric:
    """A Prometheus counter; `values` maps label values in the order of `labels` to totals."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric([str(part) for part in key], value)
    return family


def _http(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE_PLAIN_0_0_4}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body

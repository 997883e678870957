"""The load balancer's counters as Prometheus metrics, served by the event loop itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Protocol

from prometheus_client import GC_COLLECTOR, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from quiclb.datapath.base import Side
from quiclb.datapath.counters import DatapathCounters
from quiclb.errors import StartError
from quiclb.http.connection_limiter import ConnectionLimiter, ConnectionLimits
from quiclb.http.http1 import MAX_HEAD_BYTES, BadRequest, HostRule, encode_response, parse_head, split_target
from quiclb.http.listener import ListenerCounters, TcpConnection, TcpListener, own_names
from quiclb.logs.limits import LimitedLog
from quiclb.logs.setup import get_logger
from quiclb.net.address import Address, format_address
from quiclb.net.kernel.bind_errors import explain_refusal
from quiclb.routing.pool import Backend
from quiclb.routing.table import RoutingTable

METRICS_PATH = "/metrics"
REQUEST_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 32

PACKETS_HELP = (
    "Client datagrams. decision: routable (by connection ID), fallback (by 4-tuple) or drop; reason: ok, or why the "
    "connection ID named no backend, or why no backend may have the datagram."
)
REPLIES_HELP = (
    "Backend datagrams. result: sent or drop; reason stranger: an untrusted source, no backend of the table; "
    "envelope-...: no SPP header."
)
BACKEND_PACKETS_HELP = "Datagrams to and from each backend; a backend that left the table is forgotten."
BACKEND_BYTES_HELP = "Bytes of UDP payload to and from each backend, without the SPP header."
SEND_ERRORS_HELP = "Datagrams the kernel refused; EMSGSIZE: too large for the path to the backend or client."
RECEIVE_DROPS_HELP = "Datagrams lost because the socket's receive queue was full: the load balancer is overloaded."
FAILURES_HELP = "Requests for metrics that failed by a defect; the log says why."
VERSION_HELP = "Version of the table in use; every change of configs, backends or their states adds one."
GENERATION_HELP = "Deprecated: the former name of quiclb_table_version."


class HostView(Protocol):
    """What the metrics show of a `DatapathHost`."""

    @property
    def table(self) -> RoutingTable: ...
    @property
    def counters(self) -> DatapathCounters: ...
    def receive_drops(self, side: Side) -> int | None: ...


class TrafficCollector(Collector):
    """Reads the counters when scraped; register it in a `CollectorRegistry`."""

    def __init__(self, host: HostView) -> None:
        self._host = host

    def collect(self) -> Iterator[Metric]:
        drops = {side: self._host.receive_drops(side) or 0 for side in Side}
        table = self._host.table
        yield from traffic_families(self._host.counters, drops)
        yield from table_families(table.version, len(table.configs), table.pool)


def traffic_families(counters: DatapathCounters, receive_drops: Mapping[Side, int]) -> Iterator[Metric]:
    """What was forwarded and what was not."""
    for name, text, labels, totals in (
        ("packets", PACKETS_HELP, ("decision", "reason"), counters.packets),
        ("replies", REPLIES_HELP, ("result", "reason"), counters.replies),
        ("backend_packets", BACKEND_PACKETS_HELP, ("backend", "direction"), counters.backend_packets),
        ("backend_bytes", BACKEND_BYTES_HELP, ("backend", "direction"), counters.backend_bytes),
        ("send_errors", SEND_ERRORS_HELP, ("side", "error"), counters.send_errors),
    ):
        yield counter_family(f"quiclb_{name}", text, labels, totals)
    drops = {(side.value,): count for side, count in receive_drops.items()}
    yield counter_family("quiclb_receive_drops", RECEIVE_DROPS_HELP, ("side",), drops)


def table_families(version: int, config_count: int, backends: Iterable[Backend]) -> Iterator[Metric]:
    """Version, configs and backends of the table."""
    yield GaugeMetricFamily("quiclb_table_version", VERSION_HELP, value=version)
    yield GaugeMetricFamily("quiclb_table_generation", GENERATION_HELP, value=version)
    yield GaugeMetricFamily("quiclb_configs", "QUIC-LB configs in the table.", value=config_count)
    states = GaugeMetricFamily("quiclb_backends", "Backends in the table by state.", labels=("state",))
    for state, count in Counter(backend.state for backend in backends).items():
        states.add_metric((state,), count)
    yield states


class MetricsServer:
    """Answers `GET /metrics`. `render` returns the body, see `collector_renderer`; `refresh` is awaited before it.

    It is asked by IP address, `localhost`, this machine's names, or one of `hosts` (`forwarder.metrics_hosts`). It has
    32 connections at once; one that is silent makes room for the next, and none has more than 5 s for its request.
    """

    def __init__(
        self,
        render: Callable[[], bytes],
        refresh: Callable[[], Awaitable[None]] | None = None,
        hosts: Iterable[str] = (),
    ) -> None:
        self._render = render
        self._refresh = refresh
        self._hosts = HostRule.of((*own_names(), *hosts), "forwarder.metrics_hosts")
        self._log: LimitedLog | None = None
        self.counters = ListenerCounters()
        self._render_own = collector_renderer(
            _OwnCollector(self.counters), ProcessCollector(registry=None), GC_COLLECTOR
        )
        limits = ConnectionLimits(MAX_CONNECTIONS, MAX_CONNECTIONS, MAX_CONNECTIONS, MAX_CONNECTIONS)
        limiter: ConnectionLimiter[TcpConnection] = ConnectionLimiter(limits)
        self._listener = TcpListener(
            self._serve,
            limiter,
            self.counters,
            max_line_bytes=MAX_HEAD_BYTES,
            request_timeout_s=REQUEST_TIMEOUT_S,
            on_failure=self._failed,
        )

    async def start(self, address: Address) -> Address:
        """Listen and return the address really bound; raises `StartError`."""
        try:
            return await self._listener.start(address)
        except OSError as error:
            raise StartError(f"cannot serve metrics on {format_address(address)}: {explain_refusal(error)}") from None

    async def stop(self) -> None:
        await self._listener.stop()

    async def _serve(self, connection: TcpConnection) -> None:
        request = parse_head(await connection.reader.readuntil(b"\r\n\r\n"))
        if isinstance(request, BadRequest):
            response = _text(request.status, request.reason)
        elif refusal := self._hosts.refusal(request.fields):
            response = _text(refusal.status, refusal.reason)
        elif split_target(request.target)[0] != METRICS_PATH:
            response = _text(HTTPStatus.NOT_FOUND, f"there is: {METRICS_PATH}")
        elif request.method not in ("GET", "HEAD"):
            response = _text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are served", {"Allow": "GET, HEAD"})
        else:
            if self._refresh is not None:
                await self._refresh()
            fields = {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
            has_body = request.method == "GET"
            response = encode_response(HTTPStatus.OK, fields, self._render() + self._render_own(), has_body=has_body)
        await connection.respond(response)

    def _failed(self, defect: Exception) -> None:
        self._log = self._log or LimitedLog(get_logger())
        self._log.exception("metrics_request_failed")


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


class _OwnCollector(Collector):
    def __init__(self, counters: ListenerCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("quiclb_metrics_failures", FAILURES_HELP, value=self._counters.failed)
        build = GaugeMetricFamily("quiclb_build_info", "1; the version is a label.", labels=("version",))
        build.add_metric((version("quiclb"),), 1)
        yield build


def _text(status: HTTPStatus, text: str, fields: Mapping[str, str] | None = None) -> bytes:
    content = {"Content-Type": "text/plain; charset=utf-8", **(fields or {})}
    return encode_response(status, content, f"{text}\n".encode())

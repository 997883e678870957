"""The forwarding processes together as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from quiclb.daemon.metrics import table_families, traffic_families
from quiclb.datapath.base import Side
from quiclb.datapath.counters import DatapathCounters
from quiclb.routing.table_spec import TableSpec

PROCESSES_HELP: Final = "Forwarding processes. state: serving, or spare: ready to take the place of one that dies."
RESTARTS_HELP: Final = "Forwarding processes that ended without being asked to."


class Supervised(Protocol):
    """What the metrics show of a `Supervisor`."""

    restarts: int

    @property
    def spec(self) -> TableSpec: ...
    @property
    def counters(self) -> DatapathCounters: ...
    @property
    def pids(self) -> dict[int, int]: ...
    @property
    def spares(self) -> int: ...
    def receive_drops(self, side: Side) -> int: ...


class SupervisorCollector(Collector):
    """Sums the processes' counters when scraped; `Supervisor.refresh` comes first."""

    def __init__(self, supervisor: Supervised) -> None:
        self._supervisor = supervisor

    def collect(self) -> Iterator[Metric]:
        supervisor = self._supervisor
        yield from traffic_families(supervisor.counters, {side: supervisor.receive_drops(side) for side in Side})
        spec = supervisor.spec
        yield from table_families(spec.version, len(spec.configs), spec.backends)
        processes = GaugeMetricFamily("quiclb_processes", PROCESSES_HELP, labels=("state",))
        processes.add_metric(("serving",), len(supervisor.pids))
        processes.add_metric(("spare",), supervisor.spares)
        yield processes
        yield CounterMetricFamily("quiclb_process_restarts", RESTARTS_HELP, value=supervisor.restarts)

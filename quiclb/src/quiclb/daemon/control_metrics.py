"""What the table controller knows, as Prometheus metrics: reloads, discovery, probes, and each backend's state."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from quiclb.backends.health import Health
from quiclb.control.table_controller import TableController
from quiclb.daemon.metrics import counter_family
from quiclb.logs.writer import LOG_LINES_LOST_HELP, lines_lost
from quiclb.net.address import format_address


class ControlCollector(Collector):
    """Reads the table controller when scraped; register it in a `CollectorRegistry`."""

    def __init__(self, controller: TableController, log_lines_lost: Callable[[], int] = lines_lost) -> None:
        self._controller = controller
        self._log_lines_lost = log_lines_lost

    def collect(self) -> Iterator[Metric]:
        controller = self._controller
        reloads = {(result,): controller.reloads[result] for result in ("applied", "unchanged", "refused")}
        yield counter_family("quiclb_reloads", RELOADS_HELP, ("result",), reloads)
        results = {
            (source.name, result): count for source in controller.sources for result, count in source.results.items()
        }
        yield counter_family("quiclb_discovery", DISCOVERY_HELP, ("source", "result"), results)
        yield GaugeMetricFamily("quiclb_discovery_conflicts", CONFLICTS_HELP, value=len(controller.conflicts))
        yield GaugeMetricFamily("quiclb_health_fail_open", FAIL_OPEN_HELP, value=float(controller.is_fail_open))
        prober = controller.prober
        names = {backend.address: backend.name for backend in controller.spec.backends}
        probes = {} if prober is None else prober.results
        by_name = {(names[address], result): n for (address, result), n in probes.items() if address in names}
        yield counter_family("quiclb_probes", PROBES_HELP, ("backend", "result"), by_name)
        states = GaugeMetricFamily("quiclb_backend_info", INFO_HELP, labels=("backend", "address", "state", "health"))
        for backend in controller.spec.backends:
            health = Health.UNKNOWN if prober is None else prober.health(backend.address)
            states.add_metric((backend.name, format_address(backend.address), backend.state, health), 1)
        yield states
        mtus = GaugeMetricFamily("quiclb_backend_path_mtu_bytes", PATH_MTU_HELP, labels=("backend",))
        for backend in controller.spec.backends:
            mtu_bytes = controller.paths.mtu_bytes(backend.address)
            if mtu_bytes is not None:
                mtus.add_metric((backend.name,), mtu_bytes)
        yield mtus
        yield CounterMetricFamily("quiclb_log_lines_lost", LOG_LINES_LOST_HELP, value=self._log_lines_lost())


RELOADS_HELP = "Settings read again. result: applied, unchanged, or refused: the file is bad and the old table stays."
DISCOVERY_HELP = "Answers of each source. result: changed, unchanged, or failed: the last answer stays."
CONFLICTS_HELP = "What discovery found and the table could not take, such as a server ID that another backend has."
FAIL_OPEN_HELP = "1 while no active backend answers probes and all are used nevertheless: look at the probes first."
PROBES_HELP = "Health probes. result: answered, missed, or error: not even sent."
PATH_MTU_HELP = "MTU of the route to each backend when last looked at; 1,266 by IPv4 and 1,286 by IPv6 are needed."
INFO_HELP = (
    "1 for each backend. state is the one in effect: active, draining (keeps its connections) or down; health is what "
    "probes say: up, down, doubtful after it was down, or unknown before the first result."
)

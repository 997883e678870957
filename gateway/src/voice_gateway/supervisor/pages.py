"""The supervisor's own pages: health, readiness, its workers, and metrics of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from voice_gateway.supervisor.fleet import SlotState
from voice_gateway.web.server import Page, WebRequest, WebResponse


class SupervisedWorkers(Protocol):
    """What the pages show of a supervisor."""

    @property
    def is_ready(self) -> bool: ...
    @property
    def restarts(self) -> int: ...
    @property
    def states(self) -> Sequence[SlotState]: ...
    def receive_drops(self) -> Sequence[int]: ...
    def workers(self) -> list[dict[str, object]]: ...


def supervisor_pages(supervised: SupervisedWorkers) -> dict[str, Page]:
    """Return the pages by path."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(supervised))

    def metrics(request: WebRequest) -> WebResponse:
        return WebResponse(HTTPStatus.OK, content_type=CONTENT_TYPE_PLAIN_0_0_4, content=generate_latest(registry))

    def readiness(request: WebRequest) -> WebResponse:
        if supervised.is_ready:
            return WebResponse(HTTPStatus.OK, "ready\n")
        return WebResponse(HTTPStatus.SERVICE_UNAVAILABLE, "not every worker serves\n")

    def workers(request: WebRequest) -> WebResponse:
        return WebResponse(HTTPStatus.OK, json.dumps({"workers": supervised.workers()}), "application/json")

    return {
        "/metrics": metrics,
        "/healthz": lambda request: WebResponse(HTTPStatus.OK, "alive\n"),
        "/readyz": readiness,
        "/workers": workers,
    }


class FleetCollector(Collector):
    """The state of each slot, and what became of processes and datagrams."""

    def __init__(self, supervised: SupervisedWorkers) -> None:
        self._supervised = supervised

    def collect(self) -> Iterator[Metric]:
        states = Counter(self._supervised.states)
        workers = GaugeMetricFamily("voice_supervisor_workers", "Slots of the supervisor by state.", labels=("state",))
        for state in SlotState:
            workers.add_metric((state.name.lower(),), states[state])
        yield workers
        yield CounterMetricFamily(
            "voice_supervisor_restarts", "Workers that were started again after their end.", self._supervised.restarts
        )
        drops = CounterMetricFamily(
            "voice_supervisor_receive_drops", "Datagrams lost to the full queue of a slot's socket.", labels=("slot",)
        )
        for slot, count in enumerate(self._supervised.receive_drops()):
            drops.add_metric((str(slot),), count)
        yield drops

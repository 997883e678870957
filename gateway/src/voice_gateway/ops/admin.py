"""The operator's HTTP interface: metrics, health, readiness and sessions. Read-only, without words or secrets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from quiclb.http.connection_limiter import ConnectionLimits
from quiclb.http.http1 import HostRule
from quiclb.http.listener import own_names
from voice_gateway.session.manager import SessionManager
from voice_gateway.web.counters import WebCounters
from voice_gateway.web.descriptors import ADMIN_CONNECTIONS
from voice_gateway.web.server import Page, WebRequest, WebResponse, WebServer, connection_limiter

REQUEST_TIMEOUT_S: Final = 5.0


def admin_server(
    pages: Mapping[str, Page], hosts: Iterable[str] = (), counters: WebCounters | None = None
) -> WebServer:
    """Return a server that answers GET and HEAD of the pages, for IP addresses, this machine's names and `hosts`.

    It has 32 connections of its own. All may wait, and one that is silent makes room for the next, so that health
    probes are answered.
    """
    limits = ConnectionLimits(ADMIN_CONNECTIONS, ADMIN_CONNECTIONS, ADMIN_CONNECTIONS, ADMIN_CONNECTIONS)
    return WebServer(
        pages,
        {},
        hosts=HostRule.of((*own_names(), *hosts), "admin.hosts"),
        limiter=connection_limiter(limits),
        counters=counters,
        request_timeout_s=REQUEST_TIMEOUT_S,
        not_found=f"there are: {' '.join(pages)}\n",
    )


def worker_pages(sessions: SessionManager, registry: CollectorRegistry) -> dict[str, Page]:
    """Return what a worker shows, by path."""
    return {
        "/metrics": _page(
            lambda: WebResponse(HTTPStatus.OK, content_type=CONTENT_TYPE_PLAIN_0_0_4, content=generate_latest(registry))
        ),
        "/healthz": _page(lambda: WebResponse(HTTPStatus.OK, "alive\n")),
        "/readyz": _page(
            lambda: (
                WebResponse(HTTPStatus.SERVICE_UNAVAILABLE, "draining\n")
                if sessions.is_draining
                else WebResponse(HTTPStatus.OK, "ready\n")
            )
        ),
        "/sessions": _page(
            lambda: _json(
                {
                    "worker": sessions.worker,
                    "draining": sessions.is_draining,
                    "sessions": [snapshot.as_json() for snapshot in sessions.snapshot()],
                    "ended": [snapshot.as_json() for snapshot in sessions.ended()],
                }
            )
        ),
    }


def _page(answer: Callable[[], WebResponse]) -> Page:
    def page(request: WebRequest) -> WebResponse:
        return answer()

    return page


def _json(document: Mapping[str, Any]) -> WebResponse:
    return WebResponse(HTTPStatus.OK, json.dumps(document), "application/json")

"""The operator's HTTP server: a listener of its own, with connections of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from quiclb.http.connection_limiter import ConnectionLimits
from quiclb.http.http1 import HostRule
from quiclb.http.listener import own_names
from voice_gateway.web.counters import WebCounters
from voice_gateway.web.descriptors import ADMIN_CONNECTIONS
from voice_gateway.web.server import Route, WebServer, connection_limiter

REQUEST_TIMEOUT_S: Final = 5.0


def admin_server(routes: Sequence[Route], hosts: Iterable[str] = (), counters: WebCounters | None = None) -> WebServer:
    """Return a server of these routes, for IP addresses, this machine's names and `hosts`.

    It has 32 connections of its own. All may wait, and one that is silent makes room for the next, so that health
    probes are answered.
    """
    limits = ConnectionLimits(ADMIN_CONNECTIONS, ADMIN_CONNECTIONS, ADMIN_CONNECTIONS, ADMIN_CONNECTIONS)
    paths = dict.fromkeys(route.path for route in routes)
    return WebServer(
        {},
        {},
        routes=routes,
        hosts=HostRule.of((*own_names(), *hosts), "admin.hosts"),
        limiter=connection_limiter(limits),
        counters=counters,
        request_timeout_s=REQUEST_TIMEOUT_S,
        not_found=f"there are: {' '.join(paths)}\n",
    )

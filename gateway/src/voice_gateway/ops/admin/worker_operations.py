"""What an operator may see of a worker, and do with it: health, metrics, drain, log level."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from quiclb.logs.setup import log_level, set_log_level
from voice_gateway.ops.admin.operations import Operation, answer_json, taking
from voice_gateway.session.manager import SessionManager
from voice_gateway.web.server import WebRequest, WebResponse

_log = structlog.get_logger("voice_gateway.ops.admin")


class DrainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long callers have to go on elsewhere; `session.drain_timeout_s` unless given."""

    deadline_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None


class DrainBegun(msgspec.Struct, frozen=True):
    """The worker takes no new sessions, and sends those there are elsewhere."""

    sessions: int
    deadline_s: float


class LogLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much the worker logs."""

    level: Literal["debug", "info", "warning", "error"]


def worker_operations(
    sessions: SessionManager, registry: CollectorRegistry, drain: Callable[[float | None], float]
) -> tuple[Operation, ...]:
    """Return the operations of a worker; `drain` takes a deadline, or none, and returns the one that counts."""

    def ready(request: WebRequest) -> WebResponse:
        if sessions.is_draining:
            return WebResponse(HTTPStatus.SERVICE_UNAVAILABLE, "draining\n")
        return WebResponse(HTTPStatus.OK, "ready\n")

    def begin_drain(request: WebRequest, body: DrainRequest) -> WebResponse:
        deadline_s = drain(body.deadline_s)
        _log.info("worker_drain_asked", peer=request.peer, deadline_s=deadline_s)
        return answer_json(DrainBegun(sessions.count, deadline_s), HTTPStatus.ACCEPTED)

    def change_level(request: WebRequest, body: LogLevel) -> WebResponse:
        set_log_level(body.level)
        _log.warning("log_level_changed", level=body.level, peer=request.peer)
        return answer_json(body)

    return (
        Operation(
            "GET",
            "/metrics",
            "Metrics for Prometheus.",
            lambda request: WebResponse(
                HTTPStatus.OK, content_type=CONTENT_TYPE_PLAIN_0_0_4, content=generate_latest(registry)
            ),
            media_type="text/plain",
            is_open=True,
        ),
        Operation(
            "GET",
            "/healthz",
            "200 while the worker's event loop turns.",
            lambda request: WebResponse(HTTPStatus.OK, "alive\n"),
            media_type="text/plain",
            is_open=True,
        ),
        Operation(
            "GET",
            "/readyz",
            "200 while the worker takes new sessions, 503 once it drains.",
            ready,
            media_type="text/plain",
            is_open=True,
        ),
        Operation(
            "POST",
            "/drain",
            "Take no new sessions, and send those there are elsewhere. The process goes on until SIGTERM.",
            taking(DrainRequest, begin_drain),
            DrainBegun,
            DrainRequest,
            status=HTTPStatus.ACCEPTED,
        ),
        Operation(
            "GET", "/log-level", "How much the worker logs.", lambda _: answer_json({"level": log_level()}), LogLevel
        ),
        Operation(
            "PUT",
            "/log-level",
            "Change how much the worker logs; connections keep the level of their beginning.",
            taking(LogLevel, change_level),
            LogLevel,
            LogLevel,
        ),
    )

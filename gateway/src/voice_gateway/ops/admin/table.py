"""All operations of a worker's admin interface, in the order of their OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from voice_gateway.ops.admin.call_operations import CallOperations
from voice_gateway.ops.admin.event_streams import EventStreams
from voice_gateway.ops.admin.operations import Operation
from voice_gateway.ops.admin.session_operations import RecordQlog, SessionOperations
from voice_gateway.ops.admin.worker_operations import worker_operations
from voice_gateway.session.manager import SessionManager


@dataclass(frozen=True, slots=True)
class AdminParts:
    """The parts of a worker that operations show or steer; `drain` is as of `worker_operations`."""

    sessions: SessionManager
    registry: CollectorRegistry
    streams: EventStreams
    drain: Callable[[float | None], float]
    record_qlog: RecordQlog
    calls: CallOperations


def admin_operations(parts: AdminParts) -> tuple[Operation, ...]:
    """Return the operations; a further part of the worker adds its own here."""
    return (
        *worker_operations(parts.sessions, parts.registry, parts.drain),
        *SessionOperations(parts.sessions, parts.streams, parts.record_qlog).operations(),
        *parts.calls.operations(),
    )

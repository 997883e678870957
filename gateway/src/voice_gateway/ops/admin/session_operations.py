"""What an operator may see of sessions, and do with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec

from voice_gateway.agent.base import HangUp, TransferCall
from voice_gateway.ops.admin.event_streams import EventStreams
from voice_gateway.ops.admin.operations import Body, NamedSchema, Operation, RequestRefused, answer_json, taking
from voice_gateway.session.core.operator import OperatorAction, SayText, TypeText
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.runtime.live_session import LiveSession
from voice_gateway.web.server import StreamedResponse, WebRequest, WebResponse, download

MAX_QLOG_S: Final = 300.0
QLOG: Final = "application/qlog+json"
LONGEST_TEXT: Final = 4_000
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)]
RecordQlog = Callable[[str, float], Awaitable[bytes]]
"""Returns the qlog of a connection, by its ID, over the next seconds; raises `RequestRefused`."""


class SayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the agent is to say, with its own voice, in place of what it says now."""

    text: Words


class TypeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the agent is to take as typed by the caller."""

    text: Words


class TransferRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to hand the caller on to: what its client, or the telephony vendor's script, understands."""

    target: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]


class HangUpRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The reason is what the caller's client is given."""

    reason: Annotated[str, msgspec.Meta(max_length=200)] = "the operator ended the call"


class QlogRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long to record the connection for."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=MAX_QLOG_S)] = 10.0


class OrderAccepted(msgspec.Struct, frozen=True):
    """The session was given the order."""

    session: str


class SessionOperations:
    """`operations` of the sessions of one worker."""

    def __init__(self, sessions: SessionManager, streams: EventStreams, record_qlog: RecordQlog) -> None:
        self._sessions = sessions
        self._streams = streams
        self._record_qlog = record_qlog

    def operations(self) -> tuple[Operation, ...]:
        """Return them for the admin interface's table."""
        one = "/sessions/{session}"
        return (
            Operation("GET", "/sessions", "All sessions, and the last that ended.", self._list, SESSIONS, is_open=True),
            Operation("GET", one, "One session, also one of the last that ended.", self._show, SESSION),
            Operation(
                "GET",
                f"{one}/events",
                "What happens to the session, from now to its end, as server-sent events.",
                self._watch,
                media_type="text/event-stream",
            ),
            Operation(
                "GET",
                "/events",
                "What happens to all sessions, as server-sent events.",
                lambda request: self._streams.open(),
                media_type="text/event-stream",
            ),
            self._orders(
                "say",
                "Have the agent say a text now; agents that cannot repeat themselves say nothing.",
                SayRequest,
                lambda body: SayText(body.text),
            ),
            self._orders(
                "text",
                "Give the agent a text as the caller's; agents that take no typed text drop it.",
                TypeRequest,
                lambda body: TypeText(body.text),
            ),
            self._orders(
                "transfer",
                "Hand the caller on, and end the session.",
                TransferRequest,
                lambda body: TransferCall(body.target),
            ),
            self._orders("hangup", "End the session.", HangUpRequest, lambda body: HangUp(body.reason)),
            Operation(
                "POST",
                f"{one}/qlog",
                "Record the session's QUIC connection, and answer with the qlog when the time is over.",
                taking(QlogRequest, self._qlog),
                body=QlogRequest,
                media_type=QLOG,
            ),
        )

    def _list(self, request: WebRequest) -> WebResponse:
        sessions = self._sessions
        return answer_json(
            {
                "worker": sessions.worker,
                "draining": sessions.is_draining,
                "sessions": [snapshot.as_json() for snapshot in sessions.snapshot()],
                "ended": [snapshot.as_json() for snapshot in sessions.ended()],
            }
        )

    def _show(self, request: WebRequest) -> WebResponse:
        session_id = request.parameters["session"]
        live = self._sessions.find(session_id)
        if live is not None:
            return answer_json(live.snapshot().as_json())
        for snapshot in self._sessions.ended():
            if snapshot.id == session_id:
                return answer_json(snapshot.as_json())
        raise self._unknown()

    def _watch(self, request: WebRequest) -> StreamedResponse:
        return self._streams.open(self._live(request).session.identity.session_id)

    def _orders(self, name: str, summary: str, body: type[Body], action: Callable[[Body], OperatorAction]) -> Operation:
        """Return the operation that gives a session the order of its body."""
        handle = taking(body, lambda request, given: self._order(request, action(given)))
        path = f"/sessions/{{session}}/{name}"
        return Operation("POST", path, summary, handle, OrderAccepted, body, status=HTTPStatus.ACCEPTED)

    def _order(self, request: WebRequest, action: OperatorAction) -> WebResponse:
        live = self._live(request)
        reason = live.operator_asked(action)
        if reason is not None:
            raise RequestRefused(HTTPStatus.CONFLICT, reason)
        return answer_json(OrderAccepted(live.session.identity.session_id), HTTPStatus.ACCEPTED)

    async def _qlog(self, request: WebRequest, body: QlogRequest) -> StreamedResponse:
        connection = self._live(request).snapshot().connection
        if connection is None:
            raise RequestRefused(HTTPStatus.CONFLICT, "the session has no QUIC connection, and so no qlog")
        return download(await self._record_qlog(connection, body.seconds), QLOG)

    def _live(self, request: WebRequest) -> LiveSession:
        live = self._sessions.find(request.parameters["session"])
        if live is None:
            raise self._unknown()
        return live

    def _unknown(self) -> RequestRefused:
        return RequestRefused(HTTPStatus.NOT_FOUND, f"there is no such session at {self._sessions.worker} now")


_NUMBER: Final = {"type": "number"}
_INTEGER: Final = {"type": "integer"}
_TEXT: Final = {"type": "string"}
_SESSION: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A session at one moment: figures and addresses, never words. `*_ms` of a turn are its latencies.",
    "properties": {
        "id": _TEXT,
        "worker": _TEXT,
        "transport": _TEXT,
        "path": _TEXT,
        "peer": _TEXT,
        "connection": {"type": ["string", "null"], "description": "The QUIC connection ID that the log names."},
        "state": {"enum": ["new", "active", "draining", "finishing", "detached", "closed"]},
        "age_s": _NUMBER,
        "turn": _INTEGER,
        "revision": _INTEGER,
        "utterance_id": _INTEGER,
        "generation": {**_INTEGER, "deprecated": True},
        "acked_sequence": {"type": ["integer", "null"]},
        "heard_sequence": {"type": ["integer", "null"], "deprecated": True},
        "datagrams": _INTEGER,
        "uplink": {"type": "object"},
        "migrations": {
            "type": "array",
            "items": {"type": "object", "properties": {"at_s": _NUMBER, "peer": _TEXT, "gap_ms": _NUMBER}},
        },
        "turns": {
            "type": "array",
            "items": {"type": "object", "properties": {"turn": _INTEGER}, "additionalProperties": True},
        },
        "downlink_lead_s": _NUMBER,
        "close_code": {"type": ["string", "null"]},
        "close_reason": {"type": ["string", "null"]},
    },
}
SESSION: Final = NamedSchema("Session", _SESSION)
_LIST: Final = {"type": "array", "items": SESSION.reference}
_SESSIONS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"worker": _TEXT, "draining": {"type": "boolean"}, "sessions": _LIST, "ended": _LIST},
}
SESSIONS: Final = NamedSchema("Sessions", _SESSIONS, (SESSION,))

"""Which connection the log lines of a session name."""

from __future__ import annotations

from structlog.testing import capture_logs

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeTransport
from voice_gateway.session.runtime.connection.attachment import Attachment
from voice_gateway.session.runtime.connection.client_connection import ClientConnection


class QuicTransport(FakeTransport):
    kind = "webtransport"
    connection_id = "c0ffee"  # type: ignore[assignment]  # the other one has none


def test_log_lines_name_the_session_and_the_connection_that_it_has_then() -> None:
    attachment = Attachment("s-1", ClientConnection(REQUEST, FakeTransport()))
    with capture_logs() as lines:
        attachment.log.info("before")
        attachment.connection = ClientConnection(REQUEST, QuicTransport())
        attachment.log.info("after", peer="192.0.2.1")
    assert lines == [
        {"event": "before", "log_level": "info", "session": "s-1", "transport": "fake"},
        {
            "event": "after",
            "log_level": "info",
            "session": "s-1",
            "transport": "webtransport",
            "connection": "c0ffee",
            "peer": "192.0.2.1",
        },
    ]

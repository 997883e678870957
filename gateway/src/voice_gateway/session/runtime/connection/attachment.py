"""A session and the connection of its caller: all parts of the session share one `Attachment`."""

from __future__ import annotations

from typing import Any

import structlog

from voice_gateway.session.runtime.connection.client_connection import ClientConnection

_log = structlog.get_logger("voice_gateway.session")


class Attachment:
    """`connection` is the one that the session has its caller over, or had last."""

    def __init__(self, session_id: str, connection: ClientConnection) -> None:
        self.session_id = session_id
        self.connection = connection

    @property
    def log(self) -> Any:
        """A logger whose lines name both. Bound anew for each line: the log level may change meanwhile."""
        transport = self.connection.transport
        connection = {} if transport.connection_id is None else {"connection": transport.connection_id}
        return _log.bind(session=self.session_id, transport=transport.kind, **connection)

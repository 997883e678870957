"""qlog of a connection that is up, for some seconds, for an operator who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from voice_gateway.endpoint.logs.qlog_folder import encode_qlog
from voice_gateway.errors import GatewayError
from voicelink.quic import Connection

MAX_RECORDED_AT_ONCE: Final = 4
"""Each takes up to 20 MB, and its connection goes without the fast path."""


class QlogUnavailable(GatewayError):  # noqa: N818 - it says what happened
    """The connection is gone, or it or enough others are recorded already."""


class QlogRecorder:
    """Records connections that `find` knows by their ID (`ServedConnection.id`)."""

    def __init__(self, find: Callable[[str], Connection | None]) -> None:
        self._find = find
        self._recorded = 0

    async def record(self, connection_id: str, seconds: float) -> bytes:
        """Return the qlog of the next `seconds`, or until the connection ends; raises `QlogUnavailable`.

        It holds what `voicelink.quic.qlog` lets into one, and its first `MAX_EVENTS` events.
        """
        connection = self._find(connection_id)
        if connection is None:
            raise QlogUnavailable(f"there is no connection {connection_id} any more")
        if self._recorded >= MAX_RECORDED_AT_ONCE:
            raise QlogUnavailable(f"{MAX_RECORDED_AT_ONCE} connections are recorded already")
        finished: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if not connection.start_qlog(finished.set_result):
            raise QlogUnavailable(f"connection {connection_id} has a qlog already, or is over")
        self._recorded += 1
        try:
            await asyncio.wait((finished,), timeout=seconds)
        finally:
            self._recorded -= 1
            if not finished.done():
                connection.stop_qlog()
        log = finished.result()
        return await asyncio.to_thread(lambda: b"".join(encode_qlog(log)))

"""Session events as server-sent events (HTML Living Standard section 9.2), for all who watch a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from http import HTTPStatus
from typing import Final

import msgspec

from voice_gateway.ops.admin.operations import RequestRefused
from voice_gateway.session.stats.events import LineAdded, SessionEnded, SessionEvent, SessionEvents, event_document
from voice_gateway.web.server import StreamedResponse

MAX_STREAMS: Final = 8
"""At once; the rest of the admin port's connections is for probes, metrics and commands."""
MOST_WAITING: Final = 1_000
"""Events that a client has not read; beyond these its stream ends."""
KEEP_ALIVE_S: Final = 15.0


class EventStreams:
    """Opens streams of the events of one session, or of all. Words are left out unless `has_words`.

    `clock` gives seconds since 1970.
    """

    def __init__(
        self, events: SessionEvents, *, has_words: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self._events = events
        self._has_words = has_words
        self._clock = clock
        self._open = 0

    def open(self, session_id: str | None = None) -> StreamedResponse:
        """Return a stream from now on, of a session until its end; raises `RequestRefused` beyond `MAX_STREAMS`."""
        if self._open >= MAX_STREAMS:
            raise RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_STREAMS} streams of events are open already")
        return StreamedResponse(HTTPStatus.OK, self._stream(session_id), "text/event-stream")

    async def _stream(self, session_id: str | None) -> AsyncGenerator[bytes, None]:
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def take(session: str, event: SessionEvent, at: float) -> None:
            if session_id not in (None, session) or (isinstance(event, LineAdded) and not self._has_words):
                return
            if waiting.qsize() >= MOST_WAITING:
                end()
                return
            waiting.put_nowait(_encoded(event_document(session, event, self._clock() - (loop.time() - at))))
            if session_id is not None and isinstance(event, SessionEnded):
                end()

        def end() -> None:
            unsubscribe()
            waiting.put_nowait(None)

        unsubscribe = self._events.subscribe(take)
        self._open += 1
        try:
            yield b": events follow\n\n"
            while True:
                try:
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        part = await waiting.get()
                except TimeoutError:
                    part = b":\n\n"
                if part is None:
                    return
                yield part
        finally:
            self._open -= 1
            unsubscribe()


def _encoded(document: dict[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (str(document["event"]).encode(), msgspec.json.encode(document))

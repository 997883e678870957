"""The WebSocket to a vendor: opened again with back-off when it is lost, and watched by pings."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.frames import CloseCode

from voice_gateway.agents.bridges.bridge.vendor import LocateError, Message, Target, Vendor
from voice_gateway.net.no_redirects import ConnectDirectly

_OPEN_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 1.0
_PING_EVERY_S: Final = 1.0
_LARGEST_MESSAGE: Final = 16 * 1024 * 1024
_MOST_QUEUED_BYTES: Final = 4_000_000
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.25, 5.0
_SHORT_SESSION_S: Final = 10.0
_MOST_SHORT_SESSIONS: Final = 5
"""Sessions one after the other that end at once; a vendor that does so each time would be asked without end."""
_MALFORMED: Final = {
    CloseCode.MESSAGE_TOO_BIG: "oversized",
    CloseCode.PROTOCOL_ERROR: "framing",
    CloseCode.INVALID_DATA: "framing",
}
"""The codes with which this side closes because of what came."""
_HTTP_FAULTS: Final = {
    400: "refused the request",
    401: "refused the key",
    402: "wants a payment first",
    403: "refused the key",
    404: "does not know the model or the address",
}
"""What trying again would not mend."""
_REDIRECTS: Final = range(300, 400)
_HTTP_RETRIED: Final = {429: "has too many requests for this key"}
_SILENT: Final = logging.Logger("voice_gateway.agents.bridges", logging.CRITICAL)
"""What `websockets` would log at lower levels holds the key, and payloads: speech and what was said."""
_log = structlog.get_logger("voice_gateway.agents.bridges")


@dataclass(frozen=True, slots=True)
class UpstreamTimes:
    """How long to try before the call fails, and how long the vendor may be silent before the session is lost.

    An opening handshake may take `open_s` though less is left to try.
    """

    give_up_s: float = 30.0
    silent_s: float = 10.0
    open_s: float = 1.0


@dataclass(frozen=True, slots=True)
class UpstreamHandler:
    """What follows from the WebSocket's life; each is called on the event loop.

    `on_open`: a new session begins; returns what is sent first. `on_message`: a message arrived. `on_malformed`: one
    that cannot be taken, as it is too large (`oversized`) or no WebSocket's (`framing`). `on_lost`: the session is
    over, for this reason, and another one is tried. `on_failed`: no session can be had, in one sentence; nothing
    follows. `position_ms` returns how much of the caller's audio was given to the session. `on_received`: the vendor
    answered a ping that was sent behind this much of it; each second.
    """

    on_open: Callable[[], list[Message]]
    on_message: Callable[[Message], None]
    on_malformed: Callable[[str], None]
    on_lost: Callable[[str], None]
    on_failed: Callable[[str], None]
    position_ms: Callable[[], float]
    on_received: Callable[[float], None]


@dataclass(slots=True)
class _Ping:
    position_ms: float
    sent: asyncio.Future[None]


class Upstream:
    """Runs sessions one after the other until `close`, or until trying longer than `give_up_s` was in vain."""

    def __init__(self, vendor: Vendor, target: Target, handler: UpstreamHandler, times: UpstreamTimes) -> None:
        self._vendor = vendor.name
        self._locate = vendor.locate
        self._target = target
        self._handler = handler
        self._times = times
        self._queue: deque[Message | _Ping] = deque()
        self._queued_bytes = 0
        self._wakeup = asyncio.Event()
        self._probed = asyncio.Event()
        self._connection: ClientConnection | None = None
        self._ended: asyncio.Future[str] | None = None
        self._up_since: float | None = None
        self._short_sessions = 0
        self._tried_since: float | None = None
        self._reason = "was not tried"

    def send(self, messages: list[Message]) -> None:
        """Queue messages of the session in progress; without one they are dropped."""
        if self._connection is None:
            return
        for message in messages:
            self._queue.append(message)
            self._queued_bytes += len(message)
        self._wakeup.set()
        if self._queued_bytes > _MOST_QUEUED_BYTES:
            self.end("the vendor does not read")

    def probe(self) -> None:
        """Ping now, to learn soon that the vendor has all audio."""
        self._probed.set()

    def established(self) -> None:
        """The session is ready: the next loss is tried anew from the beginning."""
        self._up_since = asyncio.get_running_loop().time()
        self._tried_since = None

    def end(self, reason: str) -> None:
        """End the session in progress; another one follows."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(reason)

    async def run(self) -> None:
        """Hold sessions until cancelled, or until none can be had."""
        loop = asyncio.get_running_loop()
        delay_s = 0.0
        while True:
            if self._tried_since is None:
                self._tried_since, delay_s = loop.time(), 0.0
            self._up_since = None
            fault = await self._hold()
            self._connection, self._ended = None, None
            self._queue.clear()
            self._queued_bytes = 0
            if fault is not None:
                self._handler.on_failed(f"{self._vendor} {fault}")
                return
            _log.info("bridge_session_lost", vendor=self._vendor, reason=self._reason)
            self._handler.on_lost(self._reason)
            if self._up_since is not None:
                is_short = loop.time() - self._up_since < _SHORT_SESSION_S
                self._short_sessions = self._short_sessions + 1 if is_short else 0
                if self._short_sessions > _MOST_SHORT_SESSIONS:
                    self._handler.on_failed(f"{self._vendor} ends each session at once: {self._reason}")
                    return
                await asyncio.sleep(_FIRST_DELAY_S * (2 ** (self._short_sessions - 1) - 1) if is_short else 0)
                continue
            since = loop.time() if self._tried_since is None else self._tried_since
            if loop.time() - since >= self._times.give_up_s:
                self._handler.on_failed(f"{self._vendor} {self._reason}; tried for {self._times.give_up_s:g} s")
                return
            delay_s = min(_LONGEST_DELAY_S, max(_FIRST_DELAY_S, delay_s * 2))
            left_s = since + self._times.give_up_s - loop.time()
            await asyncio.sleep(max(0.0, min(left_s, delay_s * random.uniform(0.5, 1.0))))

    async def _hold(self) -> str | None:
        """Hold one session to its end; return what trying again would not mend."""
        try:
            target = await self._locate(self._target)
            async with ConnectDirectly(
                target.url,
                additional_headers=target.headers,
                open_timeout=min(_OPEN_TIMEOUT_S, max(self._times.open_s, self._times.give_up_s)),
                close_timeout=_CLOSE_TIMEOUT_S,
                ping_interval=None,
                max_size=_LARGEST_MESSAGE,
                compression=None,
                logger=_SILENT,
            ) as connection:
                self._connection = connection
                self._reason = await self._converse(connection)
        except (InvalidStatus, LocateError) as error:
            status = error.status if isinstance(error, LocateError) else error.response.status_code
            if status in _REDIRECTS:
                return f"redirects to another address, where the key is not sent (HTTP {status}): correct base_url"
            if status in _HTTP_FAULTS:
                return f"{_HTTP_FAULTS[status]} (HTTP {status})"
            self._reason = f"{_HTTP_RETRIED.get(status, 'fails')} (HTTP {status})"
        except (InvalidURI, ValueError) as error:
            return f"cannot be addressed: {type(error).__name__}"
        except (InvalidHandshake, WebSocketException) as error:
            self._reason = f"does not speak WebSocket: {type(error).__name__}"
        except (OSError, TimeoutError) as error:
            self._reason = f"cannot be reached: {type(error).__name__}"
        except Exception as error:  # what follows from a message must not end the task alone, and leave a silent call
            _log.error("bridge_message_failed", vendor=self._vendor, error=type(error).__name__)
            return f"sent what cannot be taken: {type(error).__name__}"
        return None

    async def _converse(self, connection: ClientConnection) -> str:
        """Carry messages both ways until the session ends; return why it did."""
        self._ended = asyncio.get_running_loop().create_future()
        ended = self._ended
        tasks = [asyncio.create_task(each) for each in (self._read(connection), self._write(connection), self._watch())]
        self.send(self._handler.on_open())
        try:
            await asyncio.wait([*tasks, ended], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return ended.result()
            return next(task.result() for task in tasks if task.done())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, connection: ClientConnection) -> str:
        try:
            while True:
                self._handler.on_message(await connection.recv())
        except ConnectionClosed as error:
            kind = None if error.sent is None or error.rcvd_then_sent else _MALFORMED.get(CloseCode(error.sent.code))
            if kind is not None:
                self._handler.on_malformed(kind)
                return "sent a malformed message"
            return f"closed the session ({error.rcvd.code})" if error.rcvd is not None else "lost the connection"

    async def _write(self, connection: ClientConnection) -> str:
        try:
            while True:
                while self._queue:
                    message = self._queue.popleft()
                    if isinstance(message, _Ping):
                        if not message.sent.done():  # given up in this turn of the loop
                            message.sent.set_result(None)
                        continue
                    self._queued_bytes -= len(message)
                    await connection.send(message)
                self._wakeup.clear()
                await self._wakeup.wait()
        except ConnectionClosed:
            await asyncio.sleep(_CLOSE_TIMEOUT_S)  # the reader knows why
        return "lost the connection"

    async def _watch(self) -> str:
        """Ping behind the audio that is queued: the answer says that the vendor has it."""
        loop = asyncio.get_running_loop()
        connection = self._connection
        if connection is None:
            return "was closed"
        try:
            while True:
                ping = _Ping(self._handler.position_ms(), loop.create_future())
                self._queue.append(ping)
                self._wakeup.set()
                async with asyncio.timeout(self._times.silent_s):
                    await ping.sent
                    await (await connection.ping())
                self._handler.on_received(ping.position_ms)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._probed.wait(), _PING_EVERY_S)
                self._probed.clear()
        except TimeoutError:
            return f"was silent for {self._times.silent_s:g} s"
        except ConnectionClosed:
            await asyncio.sleep(_CLOSE_TIMEOUT_S)
            return "lost the connection"


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel the task and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

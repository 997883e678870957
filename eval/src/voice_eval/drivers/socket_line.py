"""A call over a WebSocket that dials again when its connection breaks; drivers say what its messages mean."""

from __future__ import annotations

import asyncio
import ssl
from abc import abstractmethod
from contextlib import suppress
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidURI, WebSocketException

from voice_eval.drivers.base import Dialling, Endpoint, Line
from voice_eval.drivers.held_connection import HeldConnection
from voice_eval.errors import EvalError

OPEN_TIMEOUT_S: Final = 15.0
_REDIAL_S: Final = 0.25
_GIVE_UP_S: Final = 30.0
_FAULTS: Final = (OSError, TimeoutError, WebSocketException, EOFError)


class SocketLine(Line):
    """What the caller says while there is no connection is lost, as in an application that does nothing about it."""

    def __init__(self, dialling: Dialling, endpoint: Endpoint) -> None:
        super().__init__(dialling)
        self.endpoint = endpoint
        self._socket: ClientConnection | None = None
        self._outgoing: asyncio.Queue[str | bytes] = asyncio.Queue()
        self.held = HeldConnection(self)
        self._is_finishing = False

    async def open(self) -> None:
        await self.held.open(self._dial())

    def send_message(self, message: str | bytes) -> None:
        """Queue a message; without a connection it is lost."""
        if self._socket is not None:
            self._outgoing.put_nowait(message)

    async def finish(self) -> None:
        self._is_finishing = True
        self.say_goodbye()
        if self._socket is not None:
            with suppress(*_FAULTS):
                async with asyncio.timeout(OPEN_TIMEOUT_S):
                    await self._socket.close()

    async def close(self) -> None:
        self._is_finishing = True
        await self.held.close()

    async def where(self) -> str | None:
        """Return the URL to dial, now or again; `None` where the server wants no more."""
        return self.endpoint.url

    def headers(self, url: str) -> dict[str, str]:
        """Return the headers of the handshake."""
        return {} if self.endpoint.token is None else {"Authorization": f"Bearer {self.endpoint.token}"}

    @abstractmethod
    def connected(self) -> None:
        """Send what begins a connection."""

    @abstractmethod
    def received(self, message: str | bytes) -> None:
        """Take a message of the server; what is none of the protocol raises `ValueError`."""

    def say_goodbye(self) -> None:
        """Send what ends the call."""

    async def _dial(self) -> str | None:
        """Dial again and again; return why no more."""
        loop = asyncio.get_running_loop()
        lost_at = loop.time()
        while not self._is_finishing:
            try:
                url = await self.where()
                if url is None:
                    return "the server ended the call"
                await self._hold(url)
                lost_at = loop.time()
            except EvalError as error:
                return str(error)
            except _FAULTS as error:
                if self._socket is not None:
                    lost_at = loop.time()
                self._socket = None
                why = str(error) or type(error).__name__
                if not self.held.is_open or isinstance(error, InvalidURI) or loop.time() - lost_at > _GIVE_UP_S:
                    return f"{self.endpoint.url}: {why}"
            await asyncio.sleep(_REDIAL_S)
        return None

    async def _hold(self, url: str) -> None:
        """Hold one connection to its end."""
        host, port = self.dialling.address
        async with connect(
            url,
            host=host,
            port=port,
            ssl=self._tls() if url.startswith("wss:") else None,
            additional_headers=self.headers(url),
            compression=None,
            max_queue=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=1.0,
        ) as socket:
            self._outgoing = asyncio.Queue()
            self._socket = socket
            self.held.connected()
            self.connected()
            writing = asyncio.create_task(self._write(socket))
            try:
                async for message in socket:
                    try:
                        self.received(message)
                    except (ValueError, KeyError, TypeError) as error:
                        raise EvalError(f"{url}: no message of this protocol: {error}") from None
            finally:
                self._socket = None
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)

    async def _write(self, socket: ClientConnection) -> None:
        with suppress(*_FAULTS):
            while True:
                await socket.send(await self._outgoing.get())

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.endpoint.ca_file)

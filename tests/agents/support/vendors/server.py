"""The server that plays a vendor: one WebSocket is one session, and each message both ways is validated.

A message of a wrong shape, or at a wrong time, is kept in `violations`, and ends the session as the vendor would.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from voice_gateway.agent.cascade.cascade import Cascade

KEY: Final = "secret-key"
"""The one API key that the local servers accept."""
_POLICY_VIOLATION: Final = 1008

Json = dict[str, Any]


class Violation(Exception):  # noqa: N818 - the client's, not ours
    """The client sent what the vendor does not take, or at a time at which it does not."""


@dataclass(slots=True)
class Misbehaviour:
    """What a test lets go wrong.

    `cut` gets the name of each message before it is handled, "up" or "down" in front, and ends the connection without a
    closing handshake where it returns true. `status` refuses new connections.
    """

    cut: Callable[[str], bool] = lambda _name: False
    status: HTTPStatus | None = None


@dataclass(slots=True)
class VendorServer:
    """A vendor at `url`; `sessions` are all that were opened, in order."""

    ears: Cascade
    kind: type[VendorSession]
    is_tls: bool = False
    offers_tools: bool = False
    """For a vendor where tools belong to the agent that is configured there."""
    violations: list[str] = field(default_factory=list)
    sessions: list[VendorSession] = field(default_factory=list)
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    handles: dict[str, Any] = field(default_factory=dict)
    """What the vendor keeps of sessions that can be resumed."""
    port: int = 0

    @property
    def url(self) -> str:
        """The address without a path, as the clients take it."""
        return f"wss://localhost:{self.port}" if self.is_tls else f"ws://127.0.0.1:{self.port}"

    @property
    def http_url(self) -> str:
        """The same for HTTP."""
        return self.url.replace("ws", "http", 1)

    def cut(self) -> None:
        """End all connections as a vendor that died."""
        for session in self.sessions:
            session.abort()


@asynccontextmanager
async def vendor_server(
    ears: Cascade, kind: type[VendorSession], tls: ssl.SSLContext | None = None, *, port: int = 0
) -> AsyncIterator[VendorServer]:
    """Serve the vendor on a free port of the loopback interface, and end all its sessions at the end."""
    vendor = VendorServer(ears, kind, is_tls=tls is not None)

    async def handle(connection: ServerConnection) -> None:
        session = kind(vendor, connection)
        vendor.sessions.append(session)
        await session.run()

    def process(connection: ServerConnection, request: Request) -> Response | None:
        if vendor.misbehaviour.status is not None:
            return connection.respond(vendor.misbehaviour.status, "refused\n")
        return kind.admit(vendor, connection, request)

    server: Server = await serve(
        handle, "localhost" if tls else "127.0.0.1", port, ssl=tls, process_request=process, max_size=None
    )
    vendor.port = next(iter(server.sockets)).getsockname()[1]
    try:
        yield vendor
    finally:
        vendor.cut()
        server.close()
        await server.wait_closed()


class VendorSession(ABC):
    """One WebSocket at the vendor."""

    path: ClassVar[str]
    other_paths: ClassVar[tuple[str, ...]] = ()

    def __init__(self, server: VendorServer, connection: ServerConnection) -> None:
        self.server = server
        self.connection = connection
        self.received: list[str] = []
        """The names of the messages that came, in order."""
        self.audio_bytes = 0
        self.is_open = True
        self._outbox: asyncio.Queue[Json | bytes | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def admit(cls, _server: VendorServer, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse a request of another path or without the key."""
        path = request.path.partition("?")[0]
        if path.replace("//", "/") not in (cls.path, *cls.other_paths):
            return connection.respond(HTTPStatus.NOT_FOUND, f"no {path}\n")
        if not cls.has_key(request):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong key\n")
        return None

    @classmethod
    @abstractmethod
    def has_key(cls, request: Request) -> bool:
        """Whether the request carries `KEY` as this vendor takes it."""

    @abstractmethod
    def check_up(self, message: Json) -> str:
        """Return the name of a client's message; raises `Violation`, or `ValueError` of the vendor's models."""

    @abstractmethod
    def check_down(self, message: Json) -> str:
        """Return the name of an own message; raises as `check_up`."""

    @abstractmethod
    def opened(self) -> None:
        """The client is connected."""

    @abstractmethod
    def handle(self, name: str, message: Json) -> None:
        """Take a valid message; raises `Violation` where it comes at a wrong time."""

    def audio(self, _data: bytes) -> None:
        """Take a binary message."""
        raise Violation("this vendor takes no binary messages")

    def closed(self) -> None:  # noqa: B027 - a default that works
        """The client is gone."""

    def send(self, message: Json | bytes) -> None:
        """Send it after what was sent before."""
        self._outbox.put_nowait(message)

    def end(self) -> None:
        """Close with a handshake, once all was sent."""
        self._outbox.put_nowait(None)

    def abort(self) -> None:
        """End the connection as a process that was killed."""
        self.connection.transport.abort()

    def start(self, task: Coroutine[Any, Any, None]) -> None:
        """Run it as long as the session."""
        running = asyncio.get_running_loop().create_task(task)
        self._tasks.add(running)
        running.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """Serve the session to its end."""
        self.start(self._send())
        try:
            self.opened()
            async for raw in self.connection:
                if not self._received(raw):
                    break
        except ConnectionClosed:
            pass
        except (Violation, ValueError) as error:
            self.server.violations.append(f"{type(self).__name__}: {error}")
            await self.connection.close(_POLICY_VIOLATION, "invalid message")
        finally:
            self.is_open = False
            for task in tuple(self._tasks):
                task.cancel()
            self.closed()

    def _received(self, raw: str | bytes) -> bool:
        if isinstance(raw, bytes):
            name, message = "audio", {}
        else:
            message = json.loads(raw)
            name = self.check_up(message)
        if self._is_cut(f"up {name}"):
            return False
        self.received.append(name)
        if isinstance(raw, bytes):
            self.audio(raw)
        else:
            self.handle(name, message)
        return True

    async def _send(self) -> None:
        while (message := await self._outbox.get()) is not None:
            if isinstance(message, bytes):
                name, raw = "audio", message
            else:
                name, raw = self._checked(message), json.dumps(message)  # type: ignore[assignment]  # text or bytes
            if self._is_cut(f"down {name}"):
                return
            await self.connection.send(raw)
        await self.connection.close()

    def _checked(self, message: Json) -> str:
        try:
            return self.check_down(message)
        except (Violation, ValueError) as error:
            self.server.violations.append(f"own message: {error}")
            self.abort()
            raise

    def _is_cut(self, name: str) -> bool:
        if not self.server.misbehaviour.cut(name):
            return False
        self.abort()
        return True


def cut_once(name: str, nth: int = 1) -> Callable[[str], bool]:
    """Return a `Misbehaviour.cut` that ends the connection at the `nth` message of this name, and never again."""
    left = [nth]

    def cut(each: str) -> bool:
        if each == name:
            left[0] -= 1
            return left[0] == 0
        return False

    return cut


def header(request: Request, name: str) -> str:
    """Return a header's value, empty where it is missing."""
    headers: Headers = request.headers
    return headers.get(name, "")


def pieces(audio: bytes, size: int) -> Sequence[bytes]:
    """Cut audio as vendors send it."""
    return [audio[start : start + size] for start in range(0, len(audio), size)]

"""One WebSocket from a worker to an agent host: whole messages in, calls that never block out."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.messages import HOST_PATH, MAX_MESSAGE_BYTES
from voice_gateway.net.no_redirects import ConnectDirectly

CONNECT_TIMEOUT_S: Final = 2.0
MAX_UNSENT_BYTES: Final = 4 << 20
"""What may wait for a host that does not read, as two minutes of PCM16 at 16 kHz, beside what it gets first."""
_UNAUTHORIZED: Final = 401
_SILENT: Final = logging.Logger("voice_gateway.hosts", logging.CRITICAL)
"""What `websockets` would log at lower levels holds payloads: speech."""


class LinkRefused(Exception):  # noqa: N818 - it says what happened
    """What answers is no host that takes us: trying again does not help until a person acts."""


class HostLink:
    """Made by `dial`. `on_message` and `on_lost` are called on the event loop, the latter once, unless we `close`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._most_unsent_bytes = MAX_UNSENT_BYTES
        self._wake = asyncio.Event()
        self._is_closed = False
        self._on_lost: Callable[[str], None] = lambda reason: None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, by either side."""
        return self._is_closed

    def start(
        self, first: Sequence[bytes], on_message: Callable[[bytes], None], on_lost: Callable[[str], None]
    ) -> None:
        """Send `first`, however large, and begin to take messages."""
        self._on_lost = on_lost
        self._unsent.extend(first)
        self._unsent_bytes = sum(map(len, first))
        self._most_unsent_bytes += self._unsent_bytes
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read(on_message)), loop.create_task(self._write())]

    def send(self, raw: bytes) -> None:
        """Send a message, after `start`; a host that is too far behind with reading is lost."""
        if self._is_closed:
            return
        self._unsent.append(raw)
        self._unsent_bytes += len(raw)
        if self._unsent_bytes > self._most_unsent_bytes:
            self._lost(f"{self._unsent_bytes} bytes wait for the host to read them")
        else:
            self._wake.set()

    def close(self) -> None:
        """Nothing arrives any more, and nothing is sent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._socket.transport.abort() if self._unsent else self._socket.transport.close()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _lost(self, reason: str) -> None:
        if not self._is_closed:
            self.close()
            self._on_lost(reason)

    async def _read(self, on_message: Callable[[bytes], None]) -> None:
        try:
            async for raw in self._socket:
                if self._is_closed:
                    return
                on_message(raw if isinstance(raw, bytes) else b"")
        except ConnectionClosed:
            pass
        except Exception as error:  # what a host sends must not end the reader alone, and leave the call waiting
            self._lost(f"a message cannot be taken: {type(error).__name__}")
        self._lost("the connection ended")

    async def _write(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                while self._unsent:
                    raw = self._unsent.popleft()
                    self._unsent_bytes -= len(raw)
                    await self._socket.send(raw)
                self._wake.clear()
                await self._wake.wait()
        self._lost("the connection ended")


async def dial(address: HostAddress, credentials: HostCredentials) -> HostLink:
    """Connect; raises `LinkRefused`, or `OSError` where nothing answers."""
    headers = {} if credentials.token is None else {"Authorization": f"Bearer {credentials.token}"}
    scheme = "ws" if credentials.tls is None else "wss"
    options: dict[str, Any] = {
        "compression": None,
        "additional_headers": headers,
        "open_timeout": CONNECT_TIMEOUT_S,
        "ping_interval": None,
        "close_timeout": 1.0,
        "max_size": MAX_MESSAGE_BYTES,
        "logger": _SILENT,
    }
    try:
        if address.path is not None:
            return HostLink(
                await ConnectDirectly(f"ws://localhost{HOST_PATH}", unix=True, path=str(address.path), **options)
            )
        authority = f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"
        tls: dict[str, Any] = {} if credentials.tls is None else {"ssl": credentials.tls}
        return HostLink(await ConnectDirectly(f"{scheme}://{authority}{HOST_PATH}", proxy=None, **tls, **options))
    except InvalidStatus as error:
        status = error.response.status_code
        if status == _UNAUTHORIZED:
            raise LinkRefused(f"the agent host at {address} refuses the token in agent.hosts.token_file") from None
        raise LinkRefused(f"what listens at {address} is no agent host: it answers {status}") from None
    except TimeoutError:
        raise OSError(f"no answer within {CONNECT_TIMEOUT_S:g} s") from None
    except WebSocketException as error:
        raise OSError(f"the handshake failed: {type(error).__name__}") from None

"""Where a host listens: a TCP port, or a Unix socket that its next process takes over."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve

from voice_gateway.errors import BindError
from voice_gateway.hosts.addresses import HostAddress, HostCredentials

SOCKET_MODE: Final = 0o660


class HostListener:
    """Listens until `close`, which frees the address for the next host; connections stay."""

    def __init__(self, address: HostAddress, credentials: HostCredentials) -> None:
        self._address = address
        self._credentials = credentials
        self._server: Server | None = None
        self._file_id: tuple[int, int] | None = None

    async def open(self, on_connected: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> None:
        """Listen, with `options` as of `websockets.serve`; raises `BindError`."""
        try:
            if self._address.path is None:
                where = (self._address.host, self._address.port)
                self._server = await serve(on_connected, *where, ssl=self._credentials.tls, **options)
            else:
                self._server = await self._open_file(on_connected, **options)
        except OSError as error:
            raise BindError(f"cannot listen at {self._address}: {_reason(error)}") from None

    def close(self) -> None:
        if self._server is not None:
            self._server.close(close_connections=False)
        path, file_id, self._file_id = self._address.path, self._file_id, None
        if path is not None and file_id is not None:
            with suppress(OSError):
                found = os.stat(path)
                if (found.st_dev, found.st_ino) == file_id:
                    path.unlink()

    async def _open_file(self, on_connected: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> Server:
        _remove_stale(self._address)
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            server = await unix_serve(on_connected, str(self._address.path), **options)
        finally:
            os.umask(before)
        found = os.stat(str(self._address.path))
        self._file_id = (found.st_dev, found.st_ino)
        return server


def _remove_stale(address: HostAddress) -> None:
    """Remove the socket of a host that has ended; raises `BindError` for anything else in its place."""
    path = address.path
    if path is None:
        return
    if not path.parent.is_dir():
        raise BindError(f"cannot listen at {address}: there is no folder {path.parent}")
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise BindError(f"cannot listen at {address}: there is a file there that is no socket")
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(str(path))
    except ConnectionRefusedError:
        path.unlink()
    except OSError as error:
        raise BindError(f"cannot listen at {address}: {_reason(error)}") from None
    else:
        raise BindError(f"cannot listen at {address}: another host listens there")
    finally:
        probe.close()


def _reason(error: BaseException) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return reason[:1].lower() + reason[1:]

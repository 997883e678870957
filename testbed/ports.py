"""Port numbers that are free now, for programs that must know theirs before they bind it."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack, suppress
from typing import Final

_FIRST: Final = 20_000
_LAST: Final = 30_000


def free_port(host: str = "127.0.0.1", *, kind: socket.SocketKind = socket.SOCK_STREAM, also: int = 0) -> int:
    """Return a port that is free on `host`, as is the port `also` above it.

    Ports are below Linux's ephemeral ones (from 32,768): no outgoing connection takes one before it is bound.
    `kind` chooses TCP (`SOCK_STREAM`) or UDP (`SOCK_DGRAM`).
    """
    while True:
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        with suppress(OSError), ExitStack() as probes:
            for candidate in {port, port + also}:
                probes.enter_context(socket.socket(socket.AF_INET, kind)).bind((host, candidate))
            return port

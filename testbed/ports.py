"""Port numbers that are free now, for programs that must know theirs before they bind it."""

from __future__ import annotations

import collections
import itertools
import os
import secrets
import socket
from contextlib import ExitStack, suppress
from typing import Final

_FIRST: Final = 20_000
_BLOCKS: Final = 100
_BLOCK_PORTS: Final = 50
_offsets: Final = itertools.count(secrets.randbelow(_BLOCK_PORTS))


def free_port(host: str = "127.0.0.1", *, kind: socket.SocketKind = socket.SOCK_STREAM, also: int = 0) -> int:
    """Return a port that is free on `host`, as is the port `also` above it.

    Ports are below Linux's ephemeral ones (from 32,768): no outgoing connection takes one before it is bound. Nor does
    another caller of this function: each process has a block of ports, of which each call returns the next.
    `kind` chooses TCP (`SOCK_STREAM`) or UDP (`SOCK_DGRAM`).
    """
    for tries in itertools.count():
        block = (os.getpid() + tries // _BLOCK_PORTS) % _BLOCKS
        port = _FIRST + block * _BLOCK_PORTS + next(_offsets) % _BLOCK_PORTS
        with suppress(OSError), ExitStack() as probes:
            for candidate in {port, port + also}:
                probes.enter_context(socket.socket(socket.AF_INET, kind)).bind((host, candidate))
            if also < _BLOCK_PORTS:
                collections.deque(itertools.islice(_offsets, also), maxlen=0)  # the ports up to that are taken, too
            return port
    raise AssertionError("itertools.count has no end")

"""What supervisor and workers say to each other: one JSON message in each packet of a Unix socket pair.

Packets keep their bounds, so that a supervisor which executes its program anew goes on where the former one was.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from quiclb.net.address import Address

MAX_BYTES: Final = 1 << 17
ALIVE_EVERY_S: Final = 1.0


class WorkerSetup(msgspec.Struct, frozen=True):
    """The first message, to a worker: the plan, its slot and core, and its sockets as descriptors by setting."""

    config: str | None
    flags: Mapping[str, Any]
    state: str
    workers: int
    sessions: int
    slot: int
    core: int
    sockets: Mapping[str, int]
    log_format: str
    log_level: str
    is_insecure: bool
    may_be_root: bool


class Serving(msgspec.Struct, frozen=True, tag=True):
    """From a worker, once it takes calls."""

    admin: Address | None


class Alive(msgspec.Struct, frozen=True, tag=True):
    """From a worker, every `ALIVE_EVERY_S`: its event loop turns."""


Upward = Serving | Alive


def channel() -> tuple[socket.socket, socket.socket]:
    """Return the two ends; neither blocks."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def encode(message: WorkerSetup | Upward) -> bytes:
    return msgspec.json.encode(message)


read_setup: Final = msgspec.json.Decoder(WorkerSetup).decode
read_upward: Final[msgspec.json.Decoder[Upward]] = msgspec.json.Decoder(Upward)

"""The messages between supervisor and forwarding process: length-prefixed JSON on a socket pair."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from quiclb.datapath.counters import DatapathCounters
from quiclb.logs.setup import LogFormat
from quiclb.net.address import Address
from quiclb.routing.table_spec import TableSpec

PREFIX_BYTES: Final = 4


class LogChoice(msgspec.Struct, frozen=True):
    """Log format and level of a forwarding process."""

    log_format: LogFormat = LogFormat.AUTO
    level: str = "info"


class Setup(msgspec.Struct, frozen=True, tag=True):
    """The first message: what stays the same for the life of the process.

    `slots` holds the file descriptors of each slot's VIP and inner socket. `is_release_allowed` is false where
    systemd holds the sockets too, for the next daemon.
    """

    slots: list[tuple[int, int]]
    datapath: str
    is_loopback_allowed: bool
    is_release_allowed: bool
    orphan_grace_s: float
    log_choice: LogChoice


class Table(msgspec.Struct, frozen=True, tag=True):
    """Forward by this table from now on. It holds the keys."""

    spec: TableSpec


class Serve(msgspec.Struct, frozen=True, tag=True):
    """Forward between the sockets of this slot from now on."""

    slot: int


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Answer with a `Report`."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Forward what is in the queues and end."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The first answer: the table is built, `Serve` will take effect at once."""


class Report(msgspec.Struct, frozen=True, tag=True):
    """Everything counted so far; the last message of a process that stops."""

    packets: list[tuple[tuple[str, str], int]]
    replies: list[tuple[tuple[str, str], int]]
    backend_packets: list[tuple[tuple[str, str], int]]
    backend_bytes: list[tuple[tuple[str, str], int]]
    send_errors: list[tuple[tuple[str, str], int]]
    log_lines_lost: int = 0

    @classmethod
    def of(cls, counters: DatapathCounters, log_lines_lost: int = 0) -> Report:
        # copied in one step each, as the datapath's thread counts on
        totals = {name: list(getattr(counters, name).copy().items()) for name in _COUNTERS}
        return cls(**totals, log_lines_lost=log_lines_lost)

    def counters(self) -> DatapathCounters:
        """Return what `of` was given."""
        counters = DatapathCounters()
        for name in _COUNTERS:
            getattr(counters, name).update(dict(getattr(self, name)))
        return counters


class Refused(msgspec.Struct, frozen=True, tag=True):
    """An ICMP error says that no socket is bound to this backend's address."""

    address: Address


class TooLarge(msgspec.Struct, frozen=True, tag=True):
    """Datagrams do not fit the path to a backend."""


Downward = Setup | Table | Serve | Ask | Stop
Upward = Ready | Report | Refused | TooLarge


def encode(message: Downward | Upward) -> bytes:
    """One message with its length in front."""
    body = msgspec.json.encode(message)
    return len(body).to_bytes(PREFIX_BYTES, "big") + body


async def read_downward(reader: asyncio.StreamReader) -> Downward | None:
    """The supervisor's next message, or `None` when it is gone."""
    body = await _read(reader)
    return None if body is None else _downward.decode(body)


async def read_upward(reader: asyncio.StreamReader) -> Upward | None:
    """The forwarding process's next message, or `None` when it is gone."""
    body = await _read(reader)
    return None if body is None else _upward.decode(body)


async def _read(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readexactly(int.from_bytes(await reader.readexactly(PREFIX_BYTES), "big"))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


_downward: msgspec.json.Decoder[Downward] = msgspec.json.Decoder(Downward)
_upward: msgspec.json.Decoder[Upward] = msgspec.json.Decoder(Upward)
_COUNTERS: Final = tuple(name for name in Report.__struct_fields__ if name != "log_lines_lost")

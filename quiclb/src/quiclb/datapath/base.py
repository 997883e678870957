"""The seam between the load balancer's decisions and what moves datagrams."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from quiclb.net.address import Address
from quiclb.net.spp import SppHeader

Datagrams = Sequence[tuple[bytes, Address]]
"""A batch: payloads with the address each came from or goes to."""

Replies = Sequence[tuple[bytes, SppHeader]]
"""Payloads for clients; each header names the client, and the VIP's address to send from if that is a wildcard."""


class Side(StrEnum):
    """The two sockets."""

    VIP = "vip"
    INNER = "inner"


class DatapathHandler(Protocol):
    """What a datapath calls with the datagrams it received. No call raises or blocks."""

    def from_clients(self, batch: Datagrams, vip: Address | None = None) -> Datagrams:
        """Take what arrived at the VIP; the datapath sends the result from the inner side.

        If the VIP is a wildcard, `vip` is the address that the batch was sent to.
        """

    def from_backends(self, batch: Datagrams) -> Replies:
        """Take what arrived on the inner side; the datapath sends the result from the VIP."""

    def send_failed(self, side: Side, error: str) -> None:
        """A datagram of `side` was not sent; `error` is a symbol such as `EMSGSIZE`."""


class Datapath(Protocol):
    """Two open sockets, or what stands for them.

    Each datapath also has `serve`, which starts it: the portable ones take any `DatapathHandler`, the vectorised one
    only the forwarding rules, as it works on their routing table.
    """

    @property
    def vip(self) -> Address:
        """Where clients reach it, with the port really bound."""

    @property
    def inner(self) -> Address:
        """Where backends answer, with the port really bound."""

    def receive_drops(self, side: Side) -> int | None:
        """Datagrams the kernel dropped because the socket's receive queue was full, or `None` if it does not say."""

    async def close(self) -> None:
        """Stop and release the sockets."""

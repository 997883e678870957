"""What a connection is given at its start beside its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aioquic.tls import SessionTicketFetcher, SessionTicketHandler

from voicelink.quic.handshake.initial_keys import InitialPair
from voicelink.quic.parts.resumption import TicketSealer


@dataclass(frozen=True, slots=True)
class FirstInitial:
    """Server: what is known of its client's first packet before there is a connection.

    `destination_cid` is that of the very first one, `retry_source_cid` the one by which a Retry was sent in answer to
    it (RFC 9000 section 7.3), and `keys` are those by which the packet was opened, where it was.
    """

    destination_cid: bytes
    retry_source_cid: bytes | None = None
    keys: InitialPair | None = None


@dataclass(frozen=True, slots=True)
class ResumptionCallbacks:
    """Where sessions and tokens of earlier connections come from, and where those for later ones go.

    A server opens the tickets that clients bring, and seals those that it issues; a client receives tickets and
    NEW_TOKEN tokens.
    """

    open_session: SessionTicketFetcher | None = None
    seal_session: TicketSealer | None = None
    ticket_received: SessionTicketHandler | None = None
    token_received: Callable[[bytes], None] | None = None

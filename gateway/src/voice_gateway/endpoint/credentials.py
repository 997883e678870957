"""What a worker gives clients for their next connection, to it or to another worker: address tokens, TLS tickets."""

from __future__ import annotations

from collections.abc import Callable

from voice_gateway.endpoint.admission.address_validation import AddressTokens
from voice_gateway.endpoint.settings import SharedSecrets
from voice_gateway.endpoint.tls.session_tickets import SessionTickets
from voicelink.quic import CipherSuite, SessionTicket
from voicelink.quic.cid_source import RandomBytes


class Credentials:
    """Address tokens and TLS session tickets, on one wall clock.

    `context` is that of `SessionTickets`. Secrets that are not given are drawn, and good at this worker alone.
    """

    def __init__(
        self, secrets: SharedSecrets, context: bytes, wall_clock: Callable[[], float], rng: RandomBytes
    ) -> None:
        self._context = context
        self._wall_clock = wall_clock
        self._rng = rng
        self._drawn = rng(32)
        self.address_tokens = AddressTokens(secrets.retry or (self._drawn,), wall_clock, rng)
        self._sessions = self._session_tickets(secrets)

    def adopt(self, secrets: SharedSecrets) -> None:
        """Seal with these from now on; what was sealed with others of them stays good."""
        self.address_tokens.renew(secrets.retry or (self._drawn,))
        self._sessions = self._session_tickets(secrets)

    def seal_session(self, cipher_suite: CipherSuite, resumption_secret: bytes) -> tuple[bytes, int]:
        """A `TicketSealer` for connections."""
        ticket = self._sessions.seal(cipher_suite, resumption_secret, self._wall_clock())
        return ticket, int.from_bytes(self._rng(4), "big")

    def open_session(self, ticket: bytes) -> SessionTicket | None:
        """A TLS session ticket fetcher for connections."""
        return self._sessions.open(ticket, self._wall_clock())

    def _session_tickets(self, secrets: SharedSecrets) -> SessionTickets:
        return SessionTickets(secrets.ticket or (self._drawn,), self._context, self._rng)

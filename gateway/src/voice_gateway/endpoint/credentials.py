"""What a worker gives its clients, by which they are known the next time they come, to it or to another worker."""

from __future__ import annotations

from collections.abc import Callable

from voice_gateway.endpoint.admission.new_token import KnownAddress, NewTokens
from voice_gateway.endpoint.sockets.client_paths import Path
from voice_gateway.endpoint.admission.retry import RejectedToken, RetryTokens, ValidToken
from voice_gateway.endpoint.tls.session_tickets import SessionTickets
from voice_gateway.endpoint.settings import SharedSecrets
from voicelink.quic import CipherSuite, SessionTicket
from voicelink.quic.cid_source import RandomBytes

TokenVerdict = ValidToken | KnownAddress | RejectedToken | None
"""`None` is no token of these secrets, or one that proves nothing here: the client is unknown."""


class Credentials:
    """Tokens of Retry packets and NEW_TOKEN frames, and TLS session tickets, on one wall clock.

    `context` is that of `SessionTickets`. Secrets that are not given are drawn, and good at this worker alone.
    """

    def __init__(
        self, secrets: SharedSecrets, context: bytes, wall_clock: Callable[[], float], rng: RandomBytes
    ) -> None:
        self._context = context
        self._wall_clock = wall_clock
        self._rng = rng
        self._drawn = rng(32)
        self._new_tokens = NewTokens((self._drawn,), rng)
        self.adopt(secrets)

    def adopt(self, secrets: SharedSecrets) -> None:
        """Seal with these from now on; what was sealed with others of them stays good."""
        self._secrets = secrets
        self._retry_tokens = RetryTokens(secrets.retry or (self._drawn,), self._rng)
        self._new_tokens = NewTokens(secrets.retry or (self._drawn,), self._rng, self._new_tokens.used)
        self._sessions = SessionTickets(secrets.ticket or (self._drawn,), self._context, self._rng)

    def retry_token(self, path: Path, original_destination_cid: bytes, retry_source_cid: bytes) -> bytes:
        """A token for a Retry packet; see `RetryTokens.issue`."""
        return self._retry_tokens.issue(path, original_destination_cid, retry_source_cid, self._wall_clock())

    def new_token(self, path: Path) -> bytes:
        """A token for the next connection from this path's host."""
        return self._new_tokens.issue(path, self._wall_clock())

    def judge(self, token: bytes, path: Path, destination_cid: bytes) -> TokenVerdict:
        """Say what the token of an Initial packet proves."""
        now = self._wall_clock()
        verdict = self._retry_tokens.check(token, path, destination_cid, now)
        return verdict or self._new_tokens.check(token, path, now)

    def seal_session(self, cipher_suite: CipherSuite, resumption_secret: bytes) -> tuple[bytes, int]:
        """A `TicketSealer` for connections."""
        ticket = self._sessions.seal(cipher_suite, resumption_secret, self._wall_clock())
        return ticket, int.from_bytes(self._rng(4), "big")

    def open_session(self, ticket: bytes) -> SessionTicket | None:
        """A TLS session ticket fetcher for connections."""
        return self._sessions.open(ticket, self._wall_clock())

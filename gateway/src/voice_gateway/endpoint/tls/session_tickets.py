"""TLS session tickets that hold the session themselves, for any worker with the same secrets (RFC 8446 section 4.6.1).

A worker keeps no record of tickets. So it cannot know a replayed 0-RTT flight from the first one: what arrives in early
data must have no effect before the handshake is complete (RFC 8446 section 8, RFC 9001 section 9.2).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from voice_gateway.endpoint.sealing import PERIOD_S, SealingKeys
from voicelink.quic import CipherSuite, SessionTicket
from voicelink.quic.cid_source import RandomBytes

LIFETIME_S: Final = PERIOD_S

_HEAD: Final = struct.Struct("!QH8s")
_CONTEXT_BYTES: Final = 8
_ALWAYS: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


class SessionTickets:
    """Seals what resumption needs, and opens it again at this worker or another.

    `context` tells what early data relies on: limits and protocols. A ticket issued under another context is refused,
    since a server that lowered a limit must not accept early data sent under the higher one (RFC 9000 section 7.4.1).
    """

    def __init__(self, secrets: Sequence[bytes], context: bytes, rng: RandomBytes) -> None:
        if len(context) != _CONTEXT_BYTES:
            raise ValueError(f"a context has {_CONTEXT_BYTES} bytes, got {len(context)}")
        self._keys = SealingKeys(secrets, b"session ticket 1", rng)
        self._context = context

    def seal(self, cipher_suite: CipherSuite, resumption_secret: bytes, now: float) -> bytes:
        """Return the ticket to send; `now` is seconds since 1970."""
        head = _HEAD.pack(int(now * 1000), cipher_suite, self._context)
        return self._keys.seal(head + resumption_secret, now)

    def open(self, ticket: bytes, now: float) -> SessionTicket | None:
        """Return the session a client wants to resume, or `None`: then it gets a full handshake."""
        plain = self._keys.open(ticket, now)
        if plain is None:
            return None
        issued_at_ms, cipher_suite, context = _HEAD.unpack_from(plain)
        if context != self._context or abs(now - issued_at_ms / 1000) > LIFETIME_S:
            return None
        # checked here, by this clock: aioquic's own check of the dates must not disagree
        not_before, not_after = _ALWAYS
        return SessionTicket(
            age_add=0,  # what the client says of the ticket's age is not needed
            cipher_suite=CipherSuite(cipher_suite),
            not_valid_before=not_before,
            not_valid_after=not_after,
            resumption_secret=plain[_HEAD.size :],
            server_name="",
            ticket=ticket,
        )

from __future__ import annotations

import pytest
from aioquic.tls import CipherSuite

from tests.unit.voicelink.quic.harness import NOW, seeded
from voice_gateway.endpoint.tls.session_tickets import LIFETIME_S, SessionTickets

SECRET, CONTEXT = b"k" * 32, b"context1"
SUITE = CipherSuite.AES_256_GCM_SHA384


def tickets(secret: bytes = SECRET, context: bytes = CONTEXT, seed: int = 1) -> SessionTickets:
    return SessionTickets([secret], context, seeded(seed))


def test_another_worker_opens_a_ticket() -> None:
    session = tickets(seed=2).open(tickets(seed=1).seal(SUITE, b"s" * 48, NOW), NOW + 60)
    assert session is not None
    assert (session.cipher_suite, session.resumption_secret) == (SUITE, b"s" * 48)
    assert session.is_valid


@pytest.mark.parametrize(
    ("opener", "at"),
    [
        (tickets(b"another secret 16"), NOW),
        (tickets(context=b"context2"), NOW),
        (tickets(), NOW + LIFETIME_S + 1),
        (tickets(), NOW - LIFETIME_S - 1),
    ],
    ids=["secret", "limits", "too old", "from the future"],
)
def test_a_ticket_that_does_not_fit_is_refused(opener: SessionTickets, at: float) -> None:
    assert opener.open(tickets().seal(SUITE, b"s" * 48, NOW), at) is None


def test_a_ticket_shows_nothing_of_what_is_in_it() -> None:
    secret = bytes(range(48))
    sealed = [tickets(seed=seed).seal(SUITE, secret, NOW) for seed in (1, 2)]
    assert all(secret not in each for each in sealed)
    assert sealed[0][4:] != sealed[1][4:]


def test_a_context_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="8 bytes, got 3"):
        tickets(context=b"abc")

"""What a client brings to its next connection: TLS tickets, address tokens, and early data. Sans-IO.

aioquic draws its server's tickets at random, for one process to look up, and forgets a client's early data at a Retry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.buffer import UINT_VAR_MAX_SIZE
from aioquic.quic.connection import MAX_EARLY_DATA
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryState, QuicSentPacket

from voicelink.quic.handshake import hkdf

TICKETS_PER_CONNECTION: Final = 2
"""A client uses each once (RFC 8446 appendix C.4), and may have to try twice."""
TICKET_LIFETIME_S: Final = 86_400
MAX_NEW_TOKENS: Final = 4
"""NEW_TOKEN frames that wait to be sent; an older one is not missed."""

TicketSealer = Callable[[tls.CipherSuite, bytes], tuple[bytes, int]]
"""Cipher suite and resumption secret in; the ticket, and 32 random bits that hide its age from observers, out."""


class Resumption:
    """Issues tickets where there is a `ticket_sealer`, and queues NEW_TOKEN frames."""

    def __init__(self, ticket_sealer: TicketSealer | None) -> None:
        self.new_tokens: list[bytes] = []
        """Tokens that wait to be sent."""
        self._ticket_sealer = ticket_sealer

    def tickets(self, schedule: tls.KeySchedule) -> Iterator[bytes]:
        """Server, at the end of the handshake: yield the NewSessionTicket messages to send (RFC 8446 section 4.6.1)."""
        if self._ticket_sealer is None:
            return
        algorithm, master_secret = schedule.algorithm, schedule.derive_secret(b"res master")
        for number in range(TICKETS_PER_CONNECTION):
            nonce = bytes((number,))
            secret = hkdf.expand_label(algorithm, master_secret, b"resumption", nonce, algorithm.digest_size)
            ticket, age_add = self._ticket_sealer(schedule.cipher_suite, secret)
            message = tls.NewSessionTicket(TICKET_LIFETIME_S, age_add, nonce, ticket, MAX_EARLY_DATA)
            buf = Buffer(capacity=512 + len(ticket))
            tls.push_new_session_ticket(buf, message)
            yield buf.data

    def add_token(self, token: bytes) -> None:
        """Queue a NEW_TOKEN frame; the oldest gives way."""
        self.new_tokens = [*self.new_tokens[1 - MAX_NEW_TOKENS :], token]

    def on_token_delivery(self, delivery: QuicDeliveryState, token: bytes) -> None:
        """Queue the frame again if it was lost."""
        if delivery != QuicDeliveryState.ACKED:
            self.add_token(token)


def token_capacity(token: bytes) -> int:
    """The size of a NEW_TOKEN frame at most, in bytes."""
    return 1 + UINT_VAR_MAX_SIZE + len(token)


def push_token(buf: Buffer, token: bytes) -> None:
    """Write what follows the type of a NEW_TOKEN frame."""
    buf.push_uint_var(len(token))
    buf.push_bytes(token)


def early_packets(packets: Iterable[QuicSentPacket]) -> list[QuicSentPacket]:
    """Return those that carry early data, which the server refused: it need not be waited for (RFC 9001 4.6.2)."""
    return [each for each in packets if each.packet_type is QuicPacketType.ZERO_RTT]


def report_lost(packets: Iterable[QuicSentPacket]) -> None:
    """Have what the packets carried sent again, where no packet number space remembers them any more."""
    for packet in packets:
        for deliver, arguments in packet.delivery_handlers:
            deliver(QuicDeliveryState.LOST, *arguments)

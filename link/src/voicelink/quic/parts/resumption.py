"""TLS resumption and 0-RTT: tickets of the server's own making, and early data that a client must send again.

aioquic draws its server's tickets at random, for one process to look up, and forgets a client's early data at a Retry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic.connection import MAX_EARLY_DATA, QuicReceiveContext
from aioquic.quic.packet import QuicHeader, QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryState

from voicelink.quic.parts.connection_ids import Identifiers

TICKETS_PER_CONNECTION: Final = 2
"""A client uses each once (RFC 8446 appendix C.4), and may have to try twice."""

TicketSealer = Callable[[tls.CipherSuite, bytes], tuple[bytes, int]]
"""Cipher suite and resumption secret in; the ticket, and 32 random bits that hide its age from onlookers, out."""


class Resumption(Identifiers):
    """Issues tickets where there is a `ticket_sealer`, whose `session_ticket_fetcher` opens them again."""

    def __init__(
        self, *, ticket_sealer: TicketSealer | None = None, ticket_lifetime_s: int = 86_400, **more: Any
    ) -> None:
        super().__init__(**more)
        self._ticket_sealer = ticket_sealer
        self._ticket_lifetime_s = ticket_lifetime_s

    @property
    def is_resumed(self) -> bool:
        """Whether the handshake goes on from an earlier connection, which proved who the server is."""
        return self.tls.session_resumed

    @property
    def has_early_data(self) -> bool:
        """Whether the server accepted the client's early data."""
        return self.tls.early_data_accepted

    @property
    def has_early_keys(self) -> bool:
        """Client, after `connect`: whether what is sent now goes out in 0-RTT packets."""
        return self._cryptos[tls.Epoch.ZERO_RTT].send.is_valid()

    def prove_address(self) -> None:
        """Server: the client's address is known to be its own, from a token (RFC 9000 section 8.1)."""
        if self._network_paths:
            self._network_paths[0].is_validated = True

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        was_complete = self._handshake_complete
        super()._handle_crypto_frame(context, frame_type, buf)
        if was_complete or not self._handshake_complete:
            return
        if not self._is_client:
            self._issue_tickets()
        elif not self.tls.early_data_accepted:
            self._send_early_data_again(context.time)

    def _issue_tickets(self) -> None:
        if self._ticket_sealer is None or self.tls._psk_key_exchange_mode is None:
            return
        for number in range(TICKETS_PER_CONNECTION):
            message = tls.NewSessionTicket(
                ticket_lifetime=self._ticket_lifetime_s,
                ticket_nonce=bytes((number,)),
                max_early_data_size=MAX_EARLY_DATA,
            )
            session = self.tls._build_session_ticket(message, [])
            message.ticket, message.ticket_age_add = self._ticket_sealer(
                session.cipher_suite, session.resumption_secret
            )
            buf = Buffer(capacity=512 + len(message.ticket))
            tls.push_new_session_ticket(buf, message)
            self._crypto_streams[tls.Epoch.ONE_RTT].sender.write(buf.data)

    def _send_early_data_again(self, now: float) -> None:
        """The server did not want it: it need not be waited for (RFC 9001 section 4.6.2)."""
        space = self._spaces[tls.Epoch.ONE_RTT]
        refused = [each for each in space.sent_packets.values() if each.packet_type is QuicPacketType.ZERO_RTT]
        self._loss._on_packets_lost(congestion_event=False, now=now, packets=refused, space=space)

    def _receive_retry_packet(self, header: QuicHeader, packet_without_tag: bytes, now: float) -> None:
        retries, spaces = self._retry_count, self._spaces
        super()._receive_retry_packet(header, packet_without_tag, now)
        if self._retry_count == retries:
            return
        # the packet number spaces were made anew, and with the old ones went what is owed to the streams
        for packet in [packet for space in spaces.values() for packet in space.sent_packets.values()]:
            if packet.in_flight:
                self._loss._cc.on_packets_expired(packets=[packet])
            if packet.packet_type is QuicPacketType.ZERO_RTT:
                for deliver, arguments in packet.delivery_handlers:
                    deliver(QuicDeliveryState.LOST, *arguments)

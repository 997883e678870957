"""What a server's connection begins with: its TLS, keys, and buffers no larger than a server needs.

aioquic makes two sets of Initial keys and three buffers of 16 KB for each connection, before it knows that the client
is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic.connection import CRYPTO_BUFFER_SIZE, MAX_EARLY_DATA, QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from voicelink.quic.handshake.hello_retry import RetryingContext
from voicelink.quic.handshake.initial_keys import InitialKeys, InitialPair

SERVER_CRYPTO_BYTES: Final[Mapping[tls.Epoch, int]] = {
    tls.Epoch.INITIAL: 1_024,
    tls.Epoch.HANDSHAKE: CRYPTO_BUFFER_SIZE,
    tls.Epoch.ONE_RTT: 2_048,
}
"""Room for what TLS writes at once at each encryption level: a ServerHello or HelloRetryRequest; the certificates, for
which alone aioquic's size is needed; and session tickets."""


def begin(connection: QuicConnection, client_cid: bytes, initial_keys: InitialPair | None) -> None:
    """Do as aioquic's `_initialize`, with the Initial keys of the version that the client speaks.

    `initial_keys` are those for the client's connection ID, where its packet was opened with them before.
    """
    connection.tls = _context(connection)
    connection._cryptos_initial = InitialKeys(client_cid, connection._configuration.supported_versions, initial_keys)
    has_log = connection._quic_logger is not None
    connection._cryptos = {
        tls.Epoch.INITIAL: connection._cryptos_initial[connection._version or 0],
        tls.Epoch.ZERO_RTT: _logged_keys(connection, "0rtt") if has_log else CryptoPair(),
        tls.Epoch.HANDSHAKE: _logged_keys(connection, "handshake") if has_log else CryptoPair(),
        tls.Epoch.ONE_RTT: _logged_keys(connection, "1rtt"),  # they change, maybe while `start_qlog` logs
    }
    levels = SERVER_CRYPTO_BYTES
    connection._crypto_buffers = {epoch: Buffer(capacity=capacity) for epoch, capacity in levels.items()}
    connection._crypto_streams = {epoch: QuicStream() for epoch in levels}
    connection._spaces = {epoch: QuicPacketSpace(is_application_data=epoch is tls.Epoch.ONE_RTT) for epoch in levels}
    connection._loss.spaces = list(connection._spaces.values())


def _context(connection: QuicConnection) -> RetryingContext:
    configuration = connection._configuration
    context = RetryingContext(
        is_client=False,
        alpn_protocols=configuration.alpn_protocols,
        cipher_suites=configuration.cipher_suites,
        logger=connection._logger,
        max_early_data=MAX_EARLY_DATA,
        verify_mode=configuration.verify_mode,
    )
    context.certificate = configuration.certificate
    context.certificate_chain = configuration.certificate_chain
    context.certificate_private_key = configuration.private_key
    context.handshake_extensions = [
        (tls.ExtensionType.QUIC_TRANSPORT_PARAMETERS, connection._serialize_transport_parameters())
    ]
    context.alpn_cb = connection._alpn_handler
    context.get_session_ticket_cb = connection._session_ticket_fetcher
    context.update_traffic_key_cb = connection._update_traffic_key
    return context


def _logged_keys(connection: QuicConnection, name: str) -> CryptoPair:
    client, server = f"client_{name}_secret", f"server_{name}_secret"
    return CryptoPair(
        recv_setup_cb=partial(connection._log_key_updated, client),
        recv_teardown_cb=partial(connection._log_key_retired, client),
        send_setup_cb=partial(connection._log_key_updated, server),
        send_teardown_cb=partial(connection._log_key_retired, server),
    )

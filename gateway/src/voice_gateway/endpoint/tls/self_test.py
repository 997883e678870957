"""One QUIC handshake in memory, before any client makes one."""

from __future__ import annotations

import os
import ssl
from typing import Final

from voice_gateway.endpoint.settings import EndpointSettings, quic_configuration
from voice_gateway.endpoint.tls.identity import TlsIdentity
from voice_gateway.errors import IdentityError
from voicelink.quic import Connection, FirstInitial, PeerClosed, QuicConfiguration
from voicelink.quic.cid_source import RandomCids
from voicelink.quic.events import ConnectionTerminated, HandshakeCompleted

_CID_BYTES: Final = 8
_ROUND_TRIPS: Final = 64
"""More than a flight of certificates ever needs under the anti-amplification limit."""
_ONE_WAY_S: Final = 0.001
_SERVER: Final = ("192.0.2.1", 443)
_CLIENT: Final = ("192.0.2.2", 4433)


def handshake_in_memory(identity: TlsIdentity) -> None:
    """Complete a handshake with this certificate; raises `IdentityError` with what stops it.

    It loads, too, what a first handshake loads lazily: a worker whose file descriptors are used up by then can still
    take calls. The client accepts any issuer and name. Takes about 5 ms.
    """
    client = Connection(configuration=_client_configuration(), cids=RandomCids(_CID_BYTES, os.urandom))
    client.connect(_SERVER, 0.0)
    server = Connection(
        configuration=quic_configuration(EndpointSettings(), identity, _CID_BYTES),
        cids=RandomCids(_CID_BYTES, os.urandom),
        first_initial=FirstInitial(client.original_destination_connection_id),
    )
    fault = _exchange(client, server)
    if fault is not None:
        raise IdentityError(f"the certificate of {identity.subject} fails in a QUIC handshake: {fault}")


def _exchange(client: Connection, server: Connection) -> str | None:
    """Carry datagrams until both sides have completed the handshake; return what was wrong, or `None`."""
    now, completed = 0.0, 0
    for _ in range(_ROUND_TRIPS):
        for sender, receiver, source in ((client, server, _CLIENT), (server, client, _SERVER)):
            timer_at = sender.get_timer()
            if timer_at is not None and timer_at <= now:
                sender.handle_timer(now)
            datagrams = sender.datagrams_to_send(now)
            now += _ONE_WAY_S
            for datagram, _address in datagrams:
                receiver.receive_datagram(datagram, source, now)
            while (event := receiver.next_event()) is not None:
                if isinstance(event, PeerClosed):
                    return event.reason or f"error {event.error_code:#x}"
                if isinstance(event, ConnectionTerminated):
                    return event.reason_phrase
                completed += isinstance(event, HandshakeCompleted)
        if completed == 2:
            return None
        timers = [at for at in (client.get_timer(), server.get_timer()) if at is not None]
        now = max(now, min(timers, default=now))
    return "it does not come to an end"


def _client_configuration() -> QuicConfiguration:
    return QuicConfiguration(
        is_client=True,
        alpn_protocols=list(EndpointSettings().alpn),
        connection_id_length=_CID_BYTES,
        server_name="localhost",
        verify_mode=ssl.CERT_NONE,
    )

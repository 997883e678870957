"""The configuration of aioquic for a connection to a server."""

from __future__ import annotations

from typing import Final

from voice_client.transport.credentials import Account
from voice_client.transport.target import Target
from voice_client.transport.trust import Trust
from voicelink.quic import QuicConfiguration

CID_BYTES: Final = 8
_IDLE_TIMEOUT_S: Final = 30.0


def quic_configuration(target: Target, trust: Trust, account: Account) -> QuicConfiguration:
    """For one connection: it uses up a ticket and a token of the account."""
    ticket, token = account.take()
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=["h3"],
        server_name=target.server_name,
        connection_id_length=CID_BYTES,
        idle_timeout=_IDLE_TIMEOUT_S,
        max_datagram_frame_size=65_536,
        session_ticket=ticket,
        token=token,
    )
    trust.configure(configuration)
    return configuration

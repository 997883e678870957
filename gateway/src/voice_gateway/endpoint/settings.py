"""The settings of an endpoint, and what aioquic gets of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from cryptography.x509 import Certificate

from voice_gateway.endpoint.tls.identity import TlsIdentity
from voicelink.quic import MAX_PEER_CIDS, ConnectionOptions, PreferredAddress, QuicConfiguration
from voicelink.quic.handshake.certificates import EncodedCertificate
from voicelink.quic.stateless import SUPPORTED_VERSIONS


@dataclass(frozen=True, slots=True)
class SharedSecrets:
    """What lets a client of one worker be known to another; the newest first, none for one drawn by each worker.

    `retry` seals what validates addresses (Retry, NEW_TOKEN), `ticket` TLS sessions; see `SealingKeys`.
    """

    retry: tuple[bytes, ...] = field(default=(), repr=False)
    ticket: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """Where to listen and how much to bear.

    `host` None opens no public socket, `inner_host` None no inner one; port 0 takes any free port. The inner socket
    takes SPP headers of `trusted_proxies` (`IP` or `IP:port`) alone; `preferred` is where clients that came through one
    may reach the public socket. `secrets` must be the same on all workers behind one load balancer. From
    `retry_after_half_open` unfinished handshakes on, new clients must prove their address first; beyond `max_half_open`
    a newcomer takes the place of the oldest one of the network that holds most. A handshake may take
    `handshake_timeout_s`, and at most `loaded_handshake_timeout_s` while more than half of these places are taken. With
    `resets_for_lost_servers` a client whose connection ID names another server of the pool gets a stateless reset
    at once: `trusted_proxies` must send such a client here only while that server does not answer.
    `qlog_folder` gets a qlog of the share `qlog_sample` of connections, up to `qlog_max_bytes` in all.
    """

    host: str | None = "127.0.0.1"
    port: int = 0
    inner_host: str | None = None
    inner_port: int = 0
    trusted_proxies: tuple[str, ...] = ()
    preferred: PreferredAddress | None = None
    secrets: SharedSecrets = field(default_factory=SharedSecrets)
    retry_after_half_open: int = 64
    max_half_open: int = 160
    max_connections: int = 4096
    handshake_timeout_s: float = 10.0
    loaded_handshake_timeout_s: float = 3.0
    idle_timeout_s: float = 30.0
    max_data_bytes: int = 1 << 20
    max_stream_data_bytes: int = 1 << 18
    max_resets_per_s: float = 100.0
    resets_for_lost_servers: bool = False
    receive_buffer_bytes: int = 4 << 20
    alpn: tuple[str, ...] = ("h3",)
    qlog_folder: Path | None = None
    qlog_max_bytes: int = 256 << 20
    qlog_sample: float = 1.0
    connection: ConnectionOptions = field(default_factory=ConnectionOptions)


def early_data_context(settings: EndpointSettings) -> bytes:
    """8 bytes that differ if what a client's early data relied on is no longer so (RFC 9000 section 7.4.1)."""
    relied_on = (
        settings.max_data_bytes,
        settings.max_stream_data_bytes,
        settings.connection.max_streams,
        settings.alpn,
        MAX_PEER_CIDS,
    )
    return hashlib.sha256(repr(relied_on).encode()).digest()[:8]


def quic_configuration(settings: EndpointSettings, identity: TlsIdentity, length_bytes: int) -> QuicConfiguration:
    """Return aioquic's configuration for every connection; connection IDs have `length_bytes`."""
    shown = (identity.certificate, *identity.chain)
    certificate, *chain = (cast(Certificate, EncodedCertificate(each)) for each in shown)
    return QuicConfiguration(
        is_client=False,
        alpn_protocols=list(settings.alpn),
        certificate=certificate,
        certificate_chain=chain,
        private_key=identity.private_key,
        connection_id_length=length_bytes,
        idle_timeout=settings.idle_timeout_s,
        max_data=settings.max_data_bytes,
        max_stream_data=settings.max_stream_data_bytes,
        max_datagram_frame_size=65536,
        supported_versions=list(SUPPORTED_VERSIONS),
    )

"""A client and a server connection joined by a link in memory, on a clock that only the test moves."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

from aioquic import tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from voice_gateway.endpoint.tls.identity import TlsIdentity
from voicelink.quic import Connection, ConnectionOptions, FirstInitial
from voicelink.quic.cid_source import CidSource, RandomCids
from voicelink.quic.events import QuicEvent

NOW = 1_800_000_000.0
"""The wall clock of the tests, seconds since 1970."""
SERVER_ADDRESS = ("192.0.2.1", 4433)
CLIENT_ADDRESS = ("198.51.100.7", 40001)

E = TypeVar("E", bound=QuicEvent)


def of(kind: type[E], events: list[QuicEvent]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def seeded(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


@cache
def pem(days: int = 10, offset_days: int = -1, name: str = "localhost", key: Any = None) -> tuple[bytes, bytes]:
    """A self-signed certificate around `NOW` and its key, of P-256 unless another `key` is given."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    is_edwards = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.fromtimestamp(NOW, UTC) + timedelta(days=offset_days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, None if is_edwards else hashes.SHA256())
    )
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


@cache
def identity() -> TlsIdentity:
    return TlsIdentity.from_pem(*pem(), now=NOW)


def client_configuration(**more: Any) -> QuicConfiguration:
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], max_datagram_frame_size=65536, connection_id_length=8
    )
    configuration.verify_mode = 0  # the certificate is valid in 2027
    for name, value in more.items():
        setattr(configuration, name, value)
    return configuration


def server_configuration(**more: Any) -> QuicConfiguration:
    configuration = QuicConfiguration(
        is_client=False,
        alpn_protocols=["h3"],
        max_datagram_frame_size=65536,
        connection_id_length=8,
        certificate=identity().certificate,
        private_key=identity().private_key,
    )
    for name, value in more.items():
        setattr(configuration, name, value)
    return configuration


@dataclass
class Pair:
    """Both ends; `exchange` lets the link carry what they have to say."""

    client: Connection
    server: Connection
    now: float = 10.0
    one_way_s: float = 0.025
    client_address: Any = CLIENT_ADDRESS
    client_events: list[QuicEvent] = field(default_factory=list)
    server_events: list[QuicEvent] = field(default_factory=list)
    drop: Callable[[str, bytes], bool] = lambda sender, datagram: False

    def collect(self) -> None:
        for connection, events in ((self.client, self.client_events), (self.server, self.server_events)):
            while (event := connection.next_event()) is not None:
                events.append(event)

    def client_sends(self) -> int:
        sent = self.client.datagrams_to_send(self.now)
        self.now += self.one_way_s
        for datagram, _ in sent:
            if not self.drop("client", datagram):
                self.server.receive_datagram(datagram, self.client_address, self.now)
        self.collect()
        return len(sent)

    def server_sends(self) -> int:
        sent = self.server.datagrams_to_send(self.now)
        self.now += self.one_way_s
        for datagram, address in sent:
            if address == self.client_address and not self.drop("server", datagram):
                self.client.receive_datagram(datagram, SERVER_ADDRESS, self.now)
        self.collect()
        return len(sent)

    def exchange(self, rounds: int = 6) -> None:
        for _ in range(rounds):
            self.fire_timers()
            self.client_sends()
            self.fire_timers()
            self.server_sends()

    def fire_timers(self) -> None:
        for connection in (self.client, self.server):
            timer_at = connection.get_timer()
            if timer_at is not None and timer_at <= self.now:
                connection.handle_timer(self.now)
        self.collect()


def connected(
    *,
    client_cids: CidSource | None = None,
    server_cids: CidSource | None = None,
    client: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    options: ConnectionOptions | None = None,
    is_handshaken: bool = True,
    **server_more: Any,
) -> Pair:
    client_cids = client_cids or RandomCids(8, seeded(1))
    server_cids = server_cids or RandomCids(8, seeded(2))
    initiator = Connection(
        configuration=client_configuration(connection_id_length=client_cids.length_bytes, **(client or {})),
        cids=client_cids,
        options=options,
    )
    responder = Connection(
        configuration=server_configuration(connection_id_length=server_cids.length_bytes, **(server or {})),
        cids=server_cids,
        options=options,
        first_initial=FirstInitial(initiator.original_destination_connection_id),
        **server_more,
    )
    initiator.connect(SERVER_ADDRESS, 10.0)
    pair = Pair(initiator, responder)
    if is_handshaken:
        pair.exchange()
    return pair


_PACKET_TYPES = {
    tls.Epoch.INITIAL: QuicPacketType.INITIAL,
    tls.Epoch.HANDSHAKE: QuicPacketType.HANDSHAKE,
    tls.Epoch.ONE_RTT: QuicPacketType.ONE_RTT,
}


def packet(sender: Connection, frames: bytes, epoch: tls.Epoch = tls.Epoch.ONE_RTT) -> bytes:
    """A datagram of `sender` with exactly these frames; padded where it is an Initial."""
    builder = QuicPacketBuilder(
        host_cid=sender.host_cid,
        peer_cid=sender._peer_cid.cid,
        version=sender._version or 1,
        is_client=True,
        max_datagram_size=1472,
        packet_number=sender._packet_number,
    )
    builder.start_packet(_PACKET_TYPES[epoch], sender._cryptos[epoch])
    builder._buffer.push_bytes(frames)
    sender._loss.largest_sent[epoch] = sender._packet_number
    sender._packet_number += 1
    return builder.flush()[0][0]


def packets(sender: Connection, frames: Iterable[bytes], epoch: tls.Epoch = tls.Epoch.ONE_RTT) -> Iterator[bytes]:
    """As many frames in each packet as fit."""
    payload = b""
    for frame in frames:
        if len(payload) + len(frame) > 1300:
            yield packet(sender, payload, epoch)
            payload = b""
        payload += frame
    yield packet(sender, payload, epoch)

"""What a handshake makes a connection derive, parse and keep."""

from __future__ import annotations

from typing import Any

import pytest
from aioquic import tls
from aioquic.buffer import encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicProtocolVersion
from cryptography.hazmat.primitives.serialization import Encoding

from tests.unit.voicelink.quic.harness import Pair, connected, identity, seeded
from voicelink.quic import MAX_PEER_CIDS, Connection, ConnectionOptions, RandomCids
from voicelink.quic.engine import EPOCHS
from voicelink.quic.handshake.certificates import EncodedCertificate
from voicelink.quic.handshake.hello_retry import has_key_share
from voicelink.quic.handshake.initial_keys import InitialKeys, InitialPair
from voicelink.quic.handshake.transport_parameters import (
    MAX_ACK_DELAY,
    MAX_UDP_PAYLOAD_SIZE,
    pull_transport_parameters,
    transport_parameter,
)
from voicelink.quic.limits.workload import FRAME_UNITS
from voicelink.quic.parts.ack_policy import ACK_TIMER_SLACK_S, MIN_ACK_DELAY
from voicelink.quic.parts.reset_stream_at import PARAMETERS
from voicelink.quic.stateless import SUPPORTED_VERSIONS

V1, V2 = SUPPORTED_VERSIONS
BOTH = [QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2]


def half_open() -> Pair:
    pair = connected(server={"supported_versions": BOTH}, is_handshaken=False)
    pair.client_sends()
    pair.server_sends()
    return pair


def test_a_server_derives_the_initial_keys_of_its_clients_version_alone() -> None:
    pair = half_open()
    assert list(pair.server._cryptos_initial) == [V1]
    announced = pull_transport_parameters(pair.server._serialize_transport_parameters())[0x11]
    assert announced == b"".join(version.to_bytes(4, "big") for version in (V1, V1, V2))


@pytest.mark.parametrize("version", BOTH)
def test_the_keys_that_opened_the_first_packet_are_its_connections(version: int) -> None:
    known = InitialPair(b"12345678", version)
    assert known.recv.is_valid()
    assert not known.send.is_valid()
    keys = InitialKeys(b"12345678", BOTH, known)
    assert keys[version] is known
    derived = CryptoPair()
    derived.setup_initial(cid=b"12345678", is_client=False, version=version)
    assert (known.recv.secret, known.send.secret) == (derived.recv.secret, derived.send.secret)


@pytest.mark.parametrize(("cid", "version"), [(b"87654321", V1), (b"12345678", V2)])
def test_initial_keys_of_another_connection_id_or_version_are_not_used(cid: bytes, version: int) -> None:
    known = InitialPair(cid, version)
    assert InitialKeys(b"12345678", BOTH, known)[V1].recv.secret != known.recv.secret


def test_a_server_goes_over_to_the_version_that_its_client_prefers() -> None:
    """RFC 9368 section 2.3: that needs Initial keys of both."""
    client: dict[str, Any] = {"supported_versions": [V2, V1], "original_version": V1}
    pair = connected(client=client, server={"supported_versions": BOTH})
    assert pair.server.is_confirmed
    assert pair.server._version == pair.client._version == V2


def test_no_initial_keys_are_derived_once_they_are_discarded() -> None:
    pair = connected(server={"supported_versions": BOTH})
    for version in SUPPORTED_VERSIONS:
        assert not pair.server._cryptos_initial[version].recv.is_valid()
    with pytest.raises(KeyError):
        pair.server._cryptos_initial[0x1A2A3A4A]


def test_the_buffer_of_the_handshake_messages_goes_as_soon_as_they_are_written() -> None:
    buffers = half_open().server._crypto_buffers
    assert sum(buffer.capacity for buffer in buffers.values()) < 4_096


def test_no_buffer_of_tls_outlives_the_handshake() -> None:
    pair = connected()
    pair.exchange()
    for connection in (pair.client, pair.server):
        assert [buffer.capacity for buffer in connection._crypto_buffers.values()] == [1, 1, 1]


def test_no_private_key_of_the_exchange_outlives_the_handshake() -> None:
    pair = half_open()
    assert pair.server.tls._ec_private_keys
    pair.exchange()
    for connection in (pair.client, pair.server):
        context = connection.tls
        assert (context._ec_private_keys, context._x25519_private_key, context._x448_private_key) == ([], None, None)


def test_a_certificate_is_encoded_once() -> None:
    certificate = identity().certificate
    encoded = EncodedCertificate(certificate)
    assert encoded.public_bytes(Encoding.DER) == certificate.public_bytes(Encoding.DER)
    assert encoded.public_bytes(Encoding.DER) is encoded.public_bytes(Encoding.DER)
    with pytest.raises(ValueError, match="DER"):
        encoded.public_bytes(Encoding.PEM)


def test_connections_share_the_sets_of_encryption_levels() -> None:
    pair = connected()
    levels = [
        {id(vars(each)["_QuicConnection__frame_handlers"][frame_type][1]) for frame_type in FRAME_UNITS}
        for each in (pair.client, pair.server)
    ]
    assert levels[0] == levels[1]
    assert len(levels[0]) == 4
    assert EPOCHS("1") == {tls.Epoch.ONE_RTT}


def test_a_key_share_is_found_without_parsing_the_hello() -> None:
    pair = connected(is_handshaken=False)
    hello = bytes(pair.client._crypto_streams[tls.Epoch.INITIAL].sender._buffer)
    assert has_key_share(hello, [tls.Group.X448, tls.Group.SECP256R1])
    assert not has_key_share(hello, [tls.Group.X448])
    found = {length for length in range(len(hello)) if has_key_share(hello[:length], [tls.Group.SECP256R1])}
    assert not found or found == set(range(min(found), len(hello)))


@pytest.mark.parametrize("role", ["client", "server"])
def test_transport_parameters_are_those_of_aioquic_and_ours(role: str) -> None:
    connection: Connection = getattr(connected(), role)
    known = pull_transport_parameters(QuicConnection._serialize_transport_parameters(connection))
    data = connection._serialize_transport_parameters()
    ours = pull_transport_parameters(data)
    assert {key: value for key, value in ours.items() if key in known} == known | {
        MAX_ACK_DELAY: encode_uint_var(round((ConnectionOptions().ack_delay_s + ACK_TIMER_SLACK_S) * 1000))
    }
    assert set(ours) - set(known) == {MAX_UDP_PAYLOAD_SIZE, MIN_ACK_DELAY, *PARAMETERS}
    assert data == b"".join(transport_parameter(*each) for each in ours.items())  # none occurs twice


def test_the_servers_own_configuration_keeps_all_its_versions() -> None:
    configuration: QuicConfiguration = half_open().server.configuration
    assert configuration.supported_versions == BOTH


def test_a_peer_gives_three_spare_connection_ids() -> None:
    """One that would give seven, as quinn does, costs both sides four frames less."""
    pair = connected(client_cids=RandomCids(8, seeded(1), active_limit=8))
    pair.exchange()
    assert pair.server._local_active_connection_id_limit == MAX_PEER_CIDS
    assert len(pair.server._peer_cid_available) == MAX_PEER_CIDS - 1

"""What a connection announces of itself in its transport parameters (RFC 9000 section 18.2)."""

from __future__ import annotations

from typing import Final

from aioquic.quic.connection import QuicConnection

from voicelink.quic.handshake.transport_parameters import (
    ACK_DELAY_EXPONENT,
    ACTIVE_CONNECTION_ID_LIMIT,
    INITIAL_MAX_DATA,
    INITIAL_MAX_STREAM_DATA,
    INITIAL_MAX_STREAMS_BIDI,
    INITIAL_MAX_STREAMS_UNI,
    INITIAL_SOURCE_CONNECTION_ID,
    MAX_DATAGRAM_FRAME_SIZE,
    MAX_IDLE_TIMEOUT,
    MAX_UDP_PAYLOAD_SIZE,
    ORIGINAL_DESTINATION_CONNECTION_ID,
    RETRY_SOURCE_CONNECTION_ID,
    STATELESS_RESET_TOKEN,
    integer_parameters,
    transport_parameter,
    version_information,
)

MAX_UDP_PAYLOAD_BYTES: Final = 1500
"""Larger ones only come in fragments, and could hold thousands of frames."""


def own_parameters(connection: QuicConnection) -> bytes:
    """Encode the limits, the versions, and what authenticates the connection IDs of the handshake (section 7.3)."""
    configuration = connection._configuration
    return (
        integer_parameters(
            (MAX_IDLE_TIMEOUT, int(configuration.idle_timeout * 1000)),
            (MAX_UDP_PAYLOAD_SIZE, MAX_UDP_PAYLOAD_BYTES),
            (INITIAL_MAX_DATA, connection._local_max_data.value),
            *((each, configuration.max_stream_data) for each in INITIAL_MAX_STREAM_DATA),
            (INITIAL_MAX_STREAMS_BIDI, connection._local_max_streams_bidi.value),
            (INITIAL_MAX_STREAMS_UNI, connection._local_max_streams_uni.value),
            (ACK_DELAY_EXPONENT, connection._local_ack_delay_exponent),
            (ACTIVE_CONNECTION_ID_LIMIT, connection._local_active_connection_id_limit),
            (MAX_DATAGRAM_FRAME_SIZE, configuration.max_datagram_frame_size or 0),
        )
        + version_information(connection._version or 0, tuple(configuration.supported_versions))
        + _handshake_cids(connection)
    )


def _handshake_cids(connection: QuicConnection) -> bytes:
    data = transport_parameter(INITIAL_SOURCE_CONNECTION_ID, connection._local_initial_source_connection_id)
    if connection._is_client:
        return data
    data += transport_parameter(ORIGINAL_DESTINATION_CONNECTION_ID, connection.original_destination_connection_id)
    data += transport_parameter(STATELESS_RESET_TOKEN, connection._host_cids[0].stateless_reset_token)
    if connection._retry_source_connection_id is not None:
        data += transport_parameter(RETRY_SOURCE_CONNECTION_ID, connection._retry_source_connection_id)
    return data

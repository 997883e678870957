"""Connection IDs, the tokens that belong to them, and what is said of them in transport parameters."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from aioquic._buffer import Buffer
from aioquic.buffer import UINT_VAR_MAX_SIZE
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    CONNECTION_LIMIT_FRAME_CAPACITY,
    NEW_CONNECTION_ID_FRAME_CAPACITY,
    QuicConnectionError,
    QuicConnectionId,
    QuicReceiveContext,
)
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicPreferredAddress,
    pull_quic_transport_parameters,
    push_quic_preferred_address,
)
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace

from voicelink.quic.cid_source import RESET_TOKEN_BYTES, CidSource
from voicelink.quic.limits.workload import TokenBucket
from voicelink.quic.parts.reset_stream_at import ResetStreamAt

_MIN_STATELESS_RESET_BYTES: Final = 21
MAX_UDP_PAYLOAD_BYTES: Final = 1500
"""Larger ones only come in fragments, and could hold thousands of frames."""
MAX_NEW_TOKENS: Final = 4
"""NEW_TOKEN frames that wait to be sent; an older one is not missed."""
MAX_RETIREMENTS: Final = 32
RETIREMENTS_PER_S: Final = 1.0
"""How many connection IDs a peer may have replaced: each costs a nonce, and is kept for three probe timeouts."""
_REMEMBERED_PEER_CIDS: Final = 64
_MAX_UDP_PAYLOAD_SIZE: Final = 0x03
_DISABLE_ACTIVE_MIGRATION: Final = 0x0C
_PREFERRED_ADDRESS: Final = 0x0D


@dataclass(frozen=True, slots=True)
class PreferredAddress:
    """Where a server asks its clients to migrate after the handshake (RFC 9000 section 9.6)."""

    ipv4: tuple[str, int] | None = None
    ipv6: tuple[str, int] | None = None


class Identifiers(ResetStreamAt):
    """Connection IDs from a `CidSource`, their rotation, stateless resets and NEW_TOKEN."""

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        cids: CidSource,
        preferred_address: PreferredAddress | None = None,
        **more: Any,
    ) -> None:
        _check_length(cids, configuration)
        super().__init__(configuration=configuration, **more)
        self._cids = cids
        self._retire_prior_to = 0
        self._highest_cid_sent = 0
        self._new_tokens: list[bytes] = []
        self._remote_forbids_migration = False
        self._retirements = TokenBucket(RETIREMENTS_PER_S, MAX_RETIREMENTS)
        self._host_cid_seq = 0
        first = self._new_host_cid(was_sent=True)
        if self._is_client:
            first.stateless_reset_token = None  # type: ignore[assignment]  # absent from a client's parameters
        self._host_cids = [first]
        self.host_cid = self._local_initial_source_connection_id = first.cid
        self._preferred_address: QuicPreferredAddress | None = None
        if preferred_address is not None:
            spare = self._new_host_cid(was_sent=True)
            self._host_cids.append(spare)
            self._highest_cid_sent = spare.sequence_number
            self._preferred_address = QuicPreferredAddress(
                _literal(preferred_address.ipv4, IPv4Address),
                _literal(preferred_address.ipv6, IPv6Address),
                spare.cid,
                spare.stateless_reset_token,
            )

    @property
    def host_cids(self) -> list[bytes]:
        """The connection IDs by which the peer may call this connection now."""
        return [each.cid for each in self._host_cids]

    def send_new_token(self, token: bytes) -> None:
        """Server: queue a NEW_TOKEN frame, by which the client skips address validation next time."""
        self._new_tokens = [*self._new_tokens[1 - MAX_NEW_TOKENS :], token]

    def rotate_cids(self, cids: CidSource) -> None:
        """Issue from `cids` from now on, and have the peer retire every connection ID issued so far."""
        _check_length(cids, self._configuration)
        self._cids = cids
        self._retire_prior_to = self._host_cid_seq
        if self._handshake_complete:
            self._replenish_connection_ids()

    def _is_stateless_reset(self, data: bytes) -> bool:
        if len(data) < _MIN_STATELESS_RESET_BYTES or data[0] & 0x80:
            return False
        length = self._configuration.connection_id_length
        if length and data[1 : 1 + length] in self.host_cids:
            return False
        used = [self._peer_cid, *(path.peer_cid for path in self._network_paths if path.peer_cid is not None)]
        return any(
            each.stateless_reset_token and hmac.compare_digest(data[-RESET_TOKEN_BYTES:], each.stateless_reset_token)
            for each in used
        )

    def _new_host_cid(self, was_sent: bool = False) -> QuicConnectionId:
        cid = self._cids.issue()
        issued = QuicConnectionId(cid, self._host_cid_seq, self._cids.reset_token(cid), was_sent)
        self._host_cid_seq += 1
        return issued

    def _replenish_connection_ids(self) -> None:
        wanted = min(self._cids.active_limit, self._remote_active_connection_id_limit)
        active = sum(each.sequence_number >= self._retire_prior_to for each in self._host_cids)
        if self._configuration.connection_id_length:
            self._host_cids += [self._new_host_cid() for _ in range(wanted - active)]

    def _write_new_connection_id_frame(self, builder: QuicPacketBuilder, connection_id: QuicConnectionId) -> None:
        buf = builder.start_frame(
            QuicFrameType.NEW_CONNECTION_ID,
            capacity=NEW_CONNECTION_ID_FRAME_CAPACITY,
            handler=self._on_new_connection_id_delivery,
            handler_args=(connection_id,),
        )
        buf.push_uint_var(connection_id.sequence_number)
        buf.push_uint_var(min(self._retire_prior_to, connection_id.sequence_number))
        buf.push_uint8(len(connection_id.cid))
        buf.push_bytes(connection_id.cid)
        buf.push_bytes(connection_id.stateless_reset_token)
        connection_id.was_sent = True
        self._highest_cid_sent = max(self._highest_cid_sent, connection_id.sequence_number)
        self._events.append(events.ConnectionIdIssued(connection_id=connection_id.cid))

    def _handle_retire_connection_id_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        sequence_number = buf.pull_uint_var()
        if sequence_number > self._highest_cid_sent:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, frame_type, f"connection ID {sequence_number} was never sent"
            )
        if not self._retirements.take(1, context.time):
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION,
                frame_type,
                f"more than {MAX_RETIREMENTS} connection IDs retired",
            )
        buf.seek(start)
        super()._handle_retire_connection_id_frame(context, frame_type, buf)

    def _handle_new_connection_id_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_new_connection_id_frame(context, frame_type, buf)
        numbers = self._peer_cid_sequence_numbers
        if len(numbers) > _REMEMBERED_PEER_CIDS:
            # numbers grow by one, so that what is below these was used up; aioquic remembers each for ever
            kept = sorted(numbers)[-_REMEMBERED_PEER_CIDS // 2 :]
            self._peer_retire_prior_to = max(self._peer_retire_prior_to, kept[0])
            self._peer_cid_sequence_numbers = set(kept)

    def _consume_peer_cid(self) -> None:
        if not self._peer_cid_available:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION,
                QuicFrameType.NEW_CONNECTION_ID,
                "every connection ID was retired and none given in their place",
            )
        super()._consume_peer_cid()

    def _serialize_transport_parameters(self) -> bytes:
        data = super()._serialize_transport_parameters()
        buf = Buffer(capacity=UINT_VAR_MAX_SIZE)
        buf.push_uint_var(MAX_UDP_PAYLOAD_BYTES)
        data += _parameter(_MAX_UDP_PAYLOAD_SIZE, buf.data)
        if not self._is_client and self._cids.is_migration_disabled:
            data += _parameter(_DISABLE_ACTIVE_MIGRATION, b"")
        if self._preferred_address is not None:
            buf = Buffer(capacity=128)
            push_quic_preferred_address(buf, self._preferred_address)
            data += _parameter(_PREFERRED_ADDRESS, buf.data)
        return data

    def _parse_transport_parameters(self, data: bytes, from_session_ticket: bool = False) -> None:
        super()._parse_transport_parameters(data, from_session_ticket)
        if not from_session_ticket:
            parameters = pull_quic_transport_parameters(Buffer(data=data))
            self._remote_forbids_migration = bool(parameters.disable_active_migration)

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        super()._write_connection_limits(builder, space)
        while self._new_tokens:
            self._write_new_token_frame(builder, self._new_tokens[0])
            self._new_tokens.pop(0)

    def _write_new_token_frame(self, builder: QuicPacketBuilder, token: bytes) -> None:
        buf = builder.start_frame(
            QuicFrameType.NEW_TOKEN,
            capacity=CONNECTION_LIMIT_FRAME_CAPACITY + len(token),
            handler=self._on_new_token_delivery,
            handler_args=(token,),
        )
        buf.push_uint_var(len(token))
        buf.push_bytes(token)

    def _on_new_token_delivery(self, delivery: QuicDeliveryState, token: bytes) -> None:
        if delivery != QuicDeliveryState.ACKED:
            self.send_new_token(token)


def _check_length(cids: CidSource, configuration: QuicConfiguration) -> None:
    if cids.length_bytes != configuration.connection_id_length:
        raise ValueError(
            f"connection IDs are {cids.length_bytes} bytes, configured are {configuration.connection_id_length}"
        )


def _literal(address: tuple[str, int] | None, family: type[IPv4Address] | type[IPv6Address]) -> tuple[str, int] | None:
    return None if address is None else (str(family(address[0])), address[1])


def _parameter(identifier: int, value: bytes) -> bytes:
    buf = Buffer(capacity=2 * UINT_VAR_MAX_SIZE + len(value))
    buf.push_uint_var(identifier)
    buf.push_uint_var(len(value))
    buf.push_bytes(value)
    return buf.data

"""This side's connection IDs, the tokens that belong to them, and what transport parameters say of them. Sans-IO."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicConnectionError, QuicConnectionId
from aioquic.quic.packet import QuicErrorCode, QuicPreferredAddress, push_quic_preferred_address

from voicelink.net.token_bucket import TokenBucket
from voicelink.quic.cid_source import RESET_TOKEN_BYTES, CidSource
from voicelink.quic.handshake.transport_parameters import (
    DISABLE_ACTIVE_MIGRATION,
    PREFERRED_ADDRESS,
    transport_parameter,
)
from voicelink.quic.options import PreferredAddress

_MIN_STATELESS_RESET_BYTES: Final = 21
MAX_RETIREMENTS: Final = 32
RETIREMENTS_PER_S: Final = 1.0
"""How many connection IDs a peer may have replaced: each costs a nonce, and is kept for three probe timeouts."""
_REMEMBERED_PEER_CIDS: Final = 64


class ConnectionIds:
    """Issues connection IDs from a `CidSource`, rotates them, and bounds how many a peer may retire.

    `active` are those that the peer may use, in the order of their sequence numbers.
    """

    def __init__(
        self, source: CidSource, length_bytes: int, *, is_client: bool, preferred_address: PreferredAddress | None
    ) -> None:
        self._length_bytes = length_bytes
        self._check_length(source)
        self._source = source
        self._retire_prior_to = 0
        self._highest_sent = 0
        self._is_client = is_client
        self._retirements = TokenBucket(RETIREMENTS_PER_S, MAX_RETIREMENTS)
        self.issued_count = 0
        """How many were issued; also the next sequence number."""
        first = self._issue(was_sent=True)
        if is_client:
            first.stateless_reset_token = None  # type: ignore[assignment]  # absent from a client's parameters
        self.active = [first]
        self._preferred_address: QuicPreferredAddress | None = None
        if preferred_address is not None:
            spare = self._issue(was_sent=True)
            self.active.append(spare)
            self._highest_sent = spare.sequence_number
            self._preferred_address = QuicPreferredAddress(
                _literal(preferred_address.ipv4, IPv4Address),
                _literal(preferred_address.ipv6, IPv6Address),
                spare.cid,
                spare.stateless_reset_token,
            )

    def rotate(self, source: CidSource) -> None:
        """Issue from `source` from now on; the peer is to retire all that were issued so far."""
        self._check_length(source)
        self._source = source
        self._retire_prior_to = self.issued_count

    def replenish(self, peer_limit: int) -> None:
        """Issue as many as the peer may still have, within its `active_connection_id_limit`."""
        if self._length_bytes:
            active = sum(each.sequence_number >= self._retire_prior_to for each in self.active)
            self.active += [self._issue() for _ in range(min(self._source.active_limit, peer_limit) - active)]

    def push_new_connection_id(self, buf: Buffer, connection_id: QuicConnectionId) -> None:
        """Write what follows the type of a NEW_CONNECTION_ID frame, and count the connection ID as sent."""
        buf.push_uint_var(connection_id.sequence_number)
        buf.push_uint_var(min(self._retire_prior_to, connection_id.sequence_number))
        buf.push_uint8(len(connection_id.cid))
        buf.push_bytes(connection_id.cid)
        buf.push_bytes(connection_id.stateless_reset_token)
        connection_id.was_sent = True
        self._highest_sent = max(self._highest_sent, connection_id.sequence_number)

    def on_retire_frame(self, sequence_number: int, frame_type: int, now: float) -> None:
        """Check a RETIRE_CONNECTION_ID frame; raises for a number never sent, and for one frame too many."""
        if sequence_number > self._highest_sent:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, frame_type, f"connection ID {sequence_number} was never sent"
            )
        if not self._retirements.take(1, now):
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, frame_type, f"more than {MAX_RETIREMENTS} connection IDs retired"
            )

    def is_stateless_reset(self, data: bytes, peer_cids: Iterable[QuicConnectionId]) -> bool:
        """Whether a datagram is a stateless reset of one of the peer's connection IDs in use (RFC 9000 10.3.1)."""
        if len(data) < _MIN_STATELESS_RESET_BYTES or data[0] & 0x80:
            return False
        length = self._length_bytes
        if length:
            destination = data[1 : 1 + length]
            for each in self.active:
                if each.cid == destination:
                    return False
        return any(
            each.stateless_reset_token and hmac.compare_digest(data[-RESET_TOKEN_BYTES:], each.stateless_reset_token)
            for each in peer_cids
        )

    def transport_parameters(self) -> bytes:
        """Encode `disable_active_migration` and `preferred_address`, which aioquic leaves out."""
        data = b""
        if not self._is_client and self._source.is_migration_disabled:
            data += transport_parameter(DISABLE_ACTIVE_MIGRATION, b"")
        if self._preferred_address is not None:
            buf = Buffer(capacity=128)
            push_quic_preferred_address(buf, self._preferred_address)
            data += transport_parameter(PREFERRED_ADDRESS, buf.data)
        return data

    def _issue(self, was_sent: bool = False) -> QuicConnectionId:
        cid = self._source.issue()
        issued = QuicConnectionId(cid, self.issued_count, self._source.reset_token(cid), was_sent)
        self.issued_count += 1
        return issued

    def _check_length(self, source: CidSource) -> None:
        if source.length_bytes != self._length_bytes:
            raise ValueError(f"connection IDs are {source.length_bytes} bytes, configured are {self._length_bytes}")


def latest_numbers(numbers: set[int]) -> list[int] | None:
    """Return which sequence numbers of the peer's to remember, in order; `None` while they are few.

    They grow by one, so that what is below these was used up; aioquic remembers each for ever.
    """
    if len(numbers) <= _REMEMBERED_PEER_CIDS:
        return None
    return sorted(numbers)[-_REMEMBERED_PEER_CIDS // 2 :]


def _literal(address: tuple[str, int] | None, family: type[IPv4Address] | type[IPv6Address]) -> tuple[str, int] | None:
    return None if address is None else (str(family(address[0])), address[1])

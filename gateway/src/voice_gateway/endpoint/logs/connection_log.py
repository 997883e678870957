"""Debug log of one connection's state changes: each once, CIDs in hexadecimal, never a token, key or payload."""

from __future__ import annotations

import logging
from typing import Any, Literal

import structlog

from voice_gateway.endpoint.sockets.client_paths import Path, peer_name
from voicelink.quic import H3_NO_ERROR, QuicErrorCode

Side = Literal["client", "server"]
_log = structlog.get_logger(__name__)


class ConnectionLog:
    """One method for each state change. Unless debug lines are written each returns at once, and builds no string.

    `cid` is the connection ID that the server chose first; every line has it. The level counts when the connection is
    accepted.
    """

    __slots__ = ("_active", "_is_closed", "_is_validated", "_log", "is_enabled")

    def __init__(self, cid: bytes) -> None:
        self.is_enabled: bool = _log.is_enabled_for(logging.DEBUG)
        self._log: Any = _log.bind(cid=cid.hex()) if self.is_enabled else None
        self._active: Path | None = None
        self._is_validated = False
        self._is_closed = False

    def accepted(self, path: Path, original_destination_cid: bytes) -> None:
        """A connection was made for a client's first packet."""
        if self._log is not None:
            self._active = path
            self._log.debug("connection_accepted", peer=peer_name(path), original_dcid=original_destination_cid.hex())

    def address_validated(self, by: Literal["retry", "new_token", "handshake"]) -> None:
        """The client's first address is its own (RFC 9000 section 8.1)."""
        if self._log is not None and not self._is_validated:
            self._is_validated = True
            self._log.debug("connection_address_validated", by=by)

    def handshake_completed(self, alpn: str | None, *, is_resumed: bool, has_early_data: bool) -> None:
        if self._log is not None:
            self._log.debug("connection_handshake_completed", alpn=alpn, resumed=is_resumed, early_data=has_early_data)

    def path_is(self, path: Path | None) -> None:
        """The active path after a datagram; another one than before is logged, and is not validated yet."""
        if self._log is not None and path is not None and path != self._active:
            was, self._active = self._active, path
            self._log.debug("connection_path_changed", peer=peer_name(path), was=was and peer_name(was))

    def migrated(self, path: Path) -> None:
        """The client answered the challenge on its new path, which is the active one (RFC 9000 section 9.3)."""
        if self._log is not None:
            self.path_is(path)
            self._log.debug("connection_migrated", peer=peer_name(path))

    def closed(self, code: int, *, by: Side, reason: str | None = None) -> None:
        """The first CONNECTION_CLOSE, or stateless reset; `reason` is ours, not the peer's text."""
        if self._log is not None and not self._is_closed:
            self._is_closed = True
            self._log.debug("connection_closed", code=code, by=by, fault=_fault(code, by), reason=reason)

    def timed_out(self, what: Literal["handshake", "idle"]) -> None:
        if self._log is not None and not self._is_closed:
            self._is_closed = True
            self._log.debug("connection_timed_out", what=what)

    def forgotten(self) -> None:
        """The connection's closing period, if any, is over: none of its connection IDs is known any more."""
        if self._log is not None:
            self._log.debug("connection_forgotten")

    def cid_issued(self, cid: bytes) -> None:
        if self._log is not None:
            self._log.debug("cid_issued", issued=cid.hex())

    def cid_retired(self, cid: bytes) -> None:
        if self._log is not None:
            self._log.debug("cid_retired", retired=cid.hex())

    def cid_forgotten(self, cid: bytes) -> None:
        """No datagram for a retired connection ID can still be on its way."""
        if self._log is not None:
            self._log.debug("cid_forgotten", forgotten=cid.hex())


def _fault(code: int, by: Side) -> Side | None:
    """Whose fault a close is by its code: the other side's, unless it says that its sender failed."""
    if code in _NO_ERRORS:
        return None
    if code == QuicErrorCode.INTERNAL_ERROR:
        return by
    return "client" if by == "server" else "server"


_NO_ERRORS = frozenset({QuicErrorCode.NO_ERROR, QuicErrorCode.CONNECTION_REFUSED, H3_NO_ERROR})

"""The connection IDs a worker issues: routable by QUIC-LB, or marked unroutable."""

from __future__ import annotations

import hmac
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from quiclb import CidDecoder, CidEncoder, Decoded, NonceExhaustedError, unroutable_cid
from voicelink.quic.cid_source import RESET_TOKEN_BYTES, CidSource, RandomBytes

DEFAULT_ACTIVE_LIMIT = 4


class ServerCidSource(CidSource, Protocol):
    """A source that also knows which connection IDs are this server's alone."""

    key_name: bytes
    """The same for sources with the same reset tokens; a rotation replaces the source of that name."""

    def owns(self, cid: bytes) -> bool:
        """Whether `cid` carries this server's ID, so that no other server can hold its connection.

        Only then may a stateless reset be sent to any address (RFC 9000 section 21.11).
        """

    def is_of_pool(self, cid: bytes) -> bool:
        """Whether `cid` carries some server's ID, so that a load balancer which brings it here found that one gone."""


class CidIssuer:
    """Routable connection IDs of one server under one config.

    Reset tokens derive from `reset_key`, the same on every server of the pool, through one key for each config
    codepoint, and from the connection ID (RFC 9000 section 10.3.2). Once the encoder has no nonce left, unroutable IDs
    are issued, one on each connection and without leave to migrate: that keeps new connections alive until the next
    config.
    """

    def __init__(
        self,
        encoder: CidEncoder,
        reset_key: bytes,
        rng: RandomBytes,
        active_limit: int = DEFAULT_ACTIVE_LIMIT,
        *,
        has_plaintext_spares: bool = False,
    ) -> None:
        config = encoder.config
        self.length_bytes = encoder.cid_length
        # without a key, spare connection IDs show an observer which of them belong to one server
        self.active_limit = active_limit if config.key is not None or has_plaintext_spares else 1
        self.is_migration_disabled = False
        self.key_name = bytes((config.config_id,))
        self._encoder = encoder
        self._decoder = CidDecoder([config])
        self._rng = rng
        self._reset_hash = _reset_hash(reset_key, self.key_name)

    def issue(self) -> bytes:
        try:
            return self._encoder.encode()
        except NonceExhaustedError:
            self.active_limit, self.is_migration_disabled = 1, True
            return unroutable_cid(self.length_bytes, self._rng)

    def reset_token(self, cid: bytes) -> bytes:
        return _reset_token(self._reset_hash, cid)

    def owns(self, cid: bytes) -> bool:
        decoded = self._decoder.decode(cid, is_long_header=False)
        return isinstance(decoded, Decoded) and decoded.server_id == self._encoder.server_id

    def is_of_pool(self, cid: bytes) -> bool:
        return isinstance(self._decoder.decode(cid, is_long_header=False), Decoded)


class UnroutableIssuer:
    """Connection IDs for a server without a config: codepoint 0b111, one on each connection.

    Load balancers route them by 4-tuple alone, so clients are asked not to migrate (draft section "Configuration
    Failover"). `is_migration_disabled` False and a higher `active_limit` show what happens to those that do.
    """

    key_name = b"unroutable"

    def __init__(
        self,
        length_bytes: int,
        reset_key: bytes,
        rng: RandomBytes,
        *,
        is_migration_disabled: bool = True,
        active_limit: int = 1,
    ) -> None:
        self.length_bytes = length_bytes
        self.active_limit = active_limit
        self.is_migration_disabled = is_migration_disabled
        self._rng = rng
        self._reset_hash = _reset_hash(reset_key, self.key_name)

    def issue(self) -> bytes:
        return unroutable_cid(self.length_bytes, self._rng)

    def reset_token(self, cid: bytes) -> bytes:
        return _reset_token(self._reset_hash, cid)

    def owns(self, cid: bytes) -> bool:
        return False

    def is_of_pool(self, cid: bytes) -> bool:
        return False


def _reset_hash(reset_key: bytes, name: bytes) -> HMAC:
    """The HMAC of the key for one name, to be copied for each token: setting it up costs more than the rest."""
    return HMAC(hmac.digest(reset_key, b"stateless reset" + name, "sha256"), SHA256())


def _reset_token(keyed: HMAC, cid: bytes) -> bytes:
    token = keyed.copy()
    token.update(cid)
    return token.finalize()[:RESET_TOKEN_BYTES]

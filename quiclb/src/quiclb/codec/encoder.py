"""Makes the connection IDs a server issues."""

from __future__ import annotations

from quiclb.codec.cid import MAX_CID_LENGTH, UNROUTABLE_CONFIG_ID, first_byte
from quiclb.codec.config import QuicLbConfig
from quiclb.codec.crypto import cipher_for
from quiclb.codec.nonces import CounterNonces, Nonces, RandomBytes, RandomNonces
from quiclb.errors import EncodeError

MIN_UNROUTABLE_LENGTH = 8


class CidEncoder:
    """Issues routable connection IDs for one server under one config.

    `rng` is `os.urandom` in production. `nonces` defaults to a counter from a random start under a key, and to
    random values without one; give your own only if it survives the process. `nonce_prefix` tells processes with one
    server ID apart and needs a key. `trailing_length` random bytes of the server's own follow; it must be the
    same in all servers of the config. Raises `EncodeError` where lengths disagree.
    """

    def __init__(
        self,
        config: QuicLbConfig,
        server_id: bytes,
        *,
        rng: RandomBytes,
        nonces: Nonces | None = None,
        nonce_prefix: bytes = b"",
        trailing_length: int = 0,
    ) -> None:
        if len(server_id) != config.server_id_length:
            raise EncodeError(
                f"server ID is {len(server_id)} bytes, config {config.config_id} expects {config.server_id_length}"
            )
        if config.cid_length + trailing_length > MAX_CID_LENGTH or trailing_length < 0:
            raise EncodeError(
                f"connection ID holds at most {MAX_CID_LENGTH} bytes, "
                f"config {config.config_id} takes {config.cid_length} and {trailing_length} were to follow"
            )
        if nonce_prefix and config.key is None:
            raise EncodeError("a nonce prefix needs a key: without one it links the connection IDs of a process")
        if nonce_prefix and nonces is not None:
            raise EncodeError("a nonce prefix goes with the default nonces only")
        self.config = config
        self.server_id = server_id
        self._rng = rng
        self._nonces = nonces or _default_nonces(config, rng, nonce_prefix)
        self._cipher = cipher_for(config)
        self._trailing_length = trailing_length

    @property
    def cid_length(self) -> int:
        """Bytes of every connection ID this encoder issues."""
        return self.config.cid_length + self._trailing_length

    def encode(self) -> bytes:
        """Return a connection ID never returned before; raises `NonceExhaustedError` once that is impossible."""
        return self.encode_nonce(self._nonces.next())

    def encode_nonce(self, nonce: bytes) -> bytes:
        """Return the connection ID with this nonce; for tools and tests: that it is fresh is not checked."""
        if len(nonce) != self.config.nonce_length:
            raise EncodeError(
                f"nonce is {len(nonce)} bytes, config {self.config.config_id} expects {self.config.nonce_length}"
            )
        low_bits = self.cid_length - 1 if self.config.first_byte_encodes_cid_length else self._rng(1)[0]
        head = bytes((first_byte(self.config.config_id, low_bits),))
        return head + self._cipher.encrypt(self.server_id + nonce) + self._rng(self._trailing_length)


def unroutable_cid(length: int, rng: RandomBytes) -> bytes:
    """Return a random connection ID of codepoint 0b111 for a server without a config.

    Issue exactly one on each connection and send `disable_active_migration`: load balancers route it by 4-tuple alone.
    It encodes its own length, 8..20 bytes (draft section "Configuration Failover").
    """
    if not MIN_UNROUTABLE_LENGTH <= length <= MAX_CID_LENGTH:
        raise EncodeError(
            f"an unroutable connection ID has {MIN_UNROUTABLE_LENGTH} to {MAX_CID_LENGTH} bytes, got {length}"
        )
    return bytes((first_byte(UNROUTABLE_CONFIG_ID, length - 1),)) + rng(length - 1)


def _default_nonces(config: QuicLbConfig, rng: RandomBytes, prefix: bytes) -> Nonces:
    if config.key is None:
        return RandomNonces(config.nonce_length, rng)
    return CounterNonces(config.nonce_length, rng, prefix)

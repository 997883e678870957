"""One QUIC-LB configuration: how the connection IDs of one codepoint are laid out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from quiclb.codec.cid import MAX_CID_LENGTH, MAX_CONFIG_ID
from quiclb.errors import ConfigError

KEY_LENGTH = 16
MIN_SERVER_ID_LENGTH = 1
MIN_NONCE_LENGTH = 4
MAX_COMBINED_LENGTH = MAX_CID_LENGTH - 1


class Algorithm(StrEnum):
    """How server ID and nonce are hidden; the layout decides, there is no setting."""

    PLAINTEXT = "plaintext"
    SINGLE_PASS = "single-pass"  # noqa: S105 - an algorithm's name
    FOUR_PASS = "four-pass"  # noqa: S105


@dataclass(frozen=True, slots=True)
class QuicLbConfig:
    """What load balancers and servers of one codepoint must agree on.

    `config_id` is 0..6. `server_id_length` is at least 1 byte, `nonce_length` at least 4, both together at most 19.
    `key` holds 16 bytes, `None` leaves server IDs readable. `first_byte_encodes_cid_length` is the server's:
    true puts the length into the five low bits, false fills them with noise. Raises `ConfigError` otherwise
    (draft sections "Config Rotation" and "Configuring the Server ID and Nonce").
    """

    config_id: int
    server_id_length: int
    nonce_length: int
    key: bytes | None = field(default=None, repr=False)
    first_byte_encodes_cid_length: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.config_id <= MAX_CONFIG_ID:
            raise ConfigError(f"config ID must be 0 to {MAX_CONFIG_ID}, got {self.config_id}")
        if self.server_id_length < MIN_SERVER_ID_LENGTH:
            raise ConfigError(f"server ID must be at least 1 byte long, got {self.server_id_length}")
        if self.nonce_length < MIN_NONCE_LENGTH:
            raise ConfigError(f"nonce must be at least 4 bytes long, got {self.nonce_length}")
        if self.combined_length > MAX_COMBINED_LENGTH:
            raise ConfigError(f"server ID and nonce hold at most 19 bytes together, got {self.combined_length}")
        if self.key is not None and len(self.key) != KEY_LENGTH:
            raise ConfigError(f"key must be 16 bytes long, got {len(self.key)}")

    @property
    def combined_length(self) -> int:
        """Bytes of server ID and nonce together, 5..19."""
        return self.server_id_length + self.nonce_length

    @property
    def cid_length(self) -> int:
        """Bytes of a connection ID without any the server appends, 6..20."""
        return 1 + self.combined_length

    def ordinal_server_id(self, ordinal: int) -> bytes:
        """Return the server ID of a server that its pool numbers from 0: that number, big endian.

        Raises `ConfigError` where it has not enough bytes.
        """
        highest = 256**self.server_id_length - 1
        if not 0 <= ordinal <= highest:
            raise ConfigError(f"config {self.config_id} has server IDs for ordinals 0 to {highest}, got {ordinal}")
        return ordinal.to_bytes(self.server_id_length, "big")

    @property
    def algorithm(self) -> Algorithm:
        """Which algorithm this layout implies (draft section "CID Format")."""
        if self.key is None:
            return Algorithm.PLAINTEXT
        return Algorithm.SINGLE_PASS if self.combined_length == KEY_LENGTH else Algorithm.FOUR_PASS

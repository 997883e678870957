"""Finds the server ID in a connection ID."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from quiclb.codec.cid import UNROUTABLE_CONFIG_ID, config_id_of, self_encoded_length
from quiclb.codec.config import QuicLbConfig
from quiclb.codec.crypto import CidCipher, cipher_for
from quiclb.errors import ConfigError


class Reason(StrEnum):
    """Why a connection ID names no server (draft section "Unroutable Connection IDs")."""

    EMPTY = "empty"
    RESERVED = "reserved-0b111"
    NO_CONFIG = "no-config"
    TOO_SHORT = "too-short"
    SELF_LENGTH_MISMATCH = "self-length-mismatch"
    SELF_LENGTH_TOO_SMALL = "self-length-too-small"
    UNKNOWN_SERVER_ID = "unknown-server-id"
    BACKEND_DOWN = "backend-down"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A server ID was found; whether a server has it is for the server-ID map to say."""

    config_id: int
    server_id: bytes


@dataclass(frozen=True, slots=True)
class Unroutable:
    """No server ID; the fallback algorithm decides. `config_id` is `None` for an empty connection ID."""

    reason: Reason
    config_id: int | None = None


class CidDecoder:
    """Decodes under several configs at once, at most one for each codepoint.

    Set `check_self_length` only if every server encodes the length in its first bytes: connection IDs whose encoded
    length cannot be right are then unroutable. Raises `ConfigError` for a codepoint given twice.
    """

    def __init__(self, configs: Iterable[QuicLbConfig], *, check_self_length: bool = False) -> None:
        self._slots: list[_Slot | None] = [None] * 8
        self.checks_self_length = check_self_length
        for config in configs:
            if self._slots[config.config_id] is not None:
                raise ConfigError(f"config ID {config.config_id} is given twice")
            self._slots[config.config_id] = _Slot(config, cipher_for(config))

    def decode(self, cid: bytes, is_long_header: bool) -> Decoded | Unroutable:
        """Decode the DCID of a long header, or the bytes behind the first one of a short header.

        A short header does not say where its DCID ends: pass at least 20 bytes if there are as many.
        """
        if not cid:
            return Unroutable(Reason.EMPTY)
        config_id = config_id_of(cid[0])
        if config_id == UNROUTABLE_CONFIG_ID:
            return Unroutable(Reason.RESERVED, config_id)
        slot = self._slots[config_id]
        if slot is None:
            return Unroutable(Reason.NO_CONFIG, config_id)
        if len(cid) < slot.config.cid_length:
            return Unroutable(Reason.TOO_SHORT, config_id)
        if self.checks_self_length:
            length = self_encoded_length(cid[0])
            if is_long_header and length != len(cid) - 1:
                return Unroutable(Reason.SELF_LENGTH_MISMATCH, config_id)
            if length < slot.config.combined_length:
                return Unroutable(Reason.SELF_LENGTH_TOO_SMALL, config_id)
        return Decoded(config_id, slot.cipher.server_id(cid[1 : slot.config.cid_length]))


@dataclass(frozen=True, slots=True)
class _Slot:
    config: QuicLbConfig
    cipher: CidCipher

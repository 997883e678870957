"""The published and derived test vectors, as the tests want them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quiclb import QuicLbConfig

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "quiclb_vectors.json").read_text())


def config_of(vector: dict[str, Any]) -> QuicLbConfig:
    """The config a vector was made under."""
    return QuicLbConfig(
        config_id=vector["config_rotation"],
        server_id_length=vector["server_id_len"],
        nonce_length=vector["nonce_len"],
        key=bytes.fromhex(vector["key"]) if vector["key"] else None,
        first_byte_encodes_cid_length=vector.get("length_self_encoding", True),
    )


def label(vector: dict[str, Any]) -> str:
    return f"{vector.get('id', '')}-{vector.get('cid', '')}"


def fixed_rng(data: bytes):
    """A random source that repeats `bytes`."""
    return lambda length: (data * (length // len(data) + 1))[:length]

"""Writes the corpus again: `python -m tests.fuzz.make_corpus`. The same inputs every time."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from quiclb import CidEncoder, SppHeader, wrap
from tests.fuzz.forwarding_target import CLIENTS, CONFIGS, IS_REPLY, VIP

CORPUS = Path(__file__).parent / "corpus"
VECTORS = Path(__file__).parents[1] / "vectors" / "quiclb_vectors.json"
VERSIONS = (1, 0x6B3343CF, 0, 0x0A0A0A0A, 0xFFFFFFFF)
VECTOR_COUNT = 40


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for old in CORPUS.iterdir():
        old.unlink()
    for data in inputs():
        (CORPUS / sha256(data).hexdigest()[:16]).write_bytes(data)


def inputs() -> Iterator[bytes]:
    """Packets around connection IDs of every config and vector, cut and malformed ones, and replies."""
    rng = random.Random(1)
    cids = [bytes.fromhex(cid) for cid in _strings(json.loads(VECTORS.read_text()), "cid")][:VECTOR_COUNT]
    for config in CONFIGS:
        for number in (0, 1, 2, 9):
            server_id = bytes((number,)) * config.server_id_length
            cids.append(CidEncoder(config, server_id, rng=rng.randbytes).encode())
    for cid in cids:
        yield b"\0\x40" + cid + rng.randbytes(8)
    for length in (0, 1, 4, 7, 8, 19, 20, 21, 160, 255):
        for version in VERSIONS[:: 1 if length == 8 else 4]:
            yield b"\0" + _long(rng.randbytes(length), version)
    whole = _long(cids[-1], 1)
    for cut in (0, 1, 4, 5, 6, 12, len(whole) - 8):
        yield b"\0" + whole[:cut]
    yield b"\0" + whole + _long(cids[0], 1)
    for choice in range(len(CLIENTS)):
        yield bytes((choice,)) + b"\x40" + cids[-1]
        yield bytes((IS_REPLY | choice,)) + wrap(SppHeader(CLIENTS[choice], VIP), b"reply")
    reply = wrap(SppHeader(CLIENTS[0], VIP), b"reply")
    for malformed in (
        b"",
        reply[:1],
        reply[:37],
        reply[:38],
        b"\x56\xed" + reply[2:],
        wrap(SppHeader(("::1", 1), VIP), b"6"),
    ):
        yield bytes((IS_REPLY,)) + malformed


def _long(dcid: bytes, version: int) -> bytes:
    return b"\xc3" + version.to_bytes(4, "big") + bytes((len(dcid),)) + dcid + b"\x04scid" + b"payload"


def _strings(node: object, key: str) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key and isinstance(value, str):
                yield value
            else:
                yield from _strings(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value, key)


if __name__ == "__main__":
    main()

"""Length-prefixed blocks of TLS messages."""

from __future__ import annotations

import pytest
from aioquic import tls
from aioquic.buffer import Buffer, BufferReadError, BufferWriteError

from voicelink.quic import Connection
from voicelink.quic.handshake import blocks


def test_aioquic_reads_and_writes_by_these() -> None:
    assert Connection is not None  # its module installs them
    names = vars(tls)
    assert (names["pull_block"], names["push_block"]) == (blocks.PullBlock, blocks.PushBlock)
    assert names["push_extension"] is blocks.push_extension
    assert (names["pull_opaque"], names["push_opaque"]) == (blocks.pull_opaque, blocks.push_opaque)


def test_a_block_has_its_length_in_front() -> None:
    buf = Buffer(capacity=32)
    with blocks.push_extension(buf, 0x1234), blocks.PushBlock(buf, 1):
        buf.push_bytes(b"abc")
    blocks.push_opaque(buf, 3, b"xy")
    assert buf.data == bytes.fromhex("1234 0004 03") + b"abc" + bytes.fromhex("000002") + b"xy"


def test_a_block_is_read_to_its_end() -> None:
    buf = Buffer(data=b"\x00\x03abc\x01d")
    with blocks.PullBlock(buf, 2) as length:
        assert buf.pull_bytes(length) == b"abc"
    assert blocks.pull_opaque(buf, 1) == b"d"
    assert buf.eof()


@pytest.mark.parametrize("read", [2, 4])
def test_less_or_more_than_a_block_is_refused(read: int) -> None:
    buf = Buffer(data=b"\x03abcd")
    with pytest.raises(tls.AlertDecodeError, match="extra bytes"), blocks.PullBlock(buf, 1):
        buf.pull_bytes(read)


def test_what_goes_wrong_within_a_block_is_raised_as_it_is() -> None:
    with pytest.raises(BufferReadError), blocks.PullBlock(Buffer(data=b"\x03ab"), 1) as length:
        raise BufferReadError(str(length))
    with pytest.raises(BufferReadError):
        blocks.pull_opaque(Buffer(data=b"\x03ab"), 1)
    with pytest.raises(BufferWriteError):
        blocks.push_opaque(Buffer(capacity=3), 1, b"abc")
    buf = Buffer(capacity=8)
    with pytest.raises(KeyError), blocks.PushBlock(buf, 1):
        raise KeyError

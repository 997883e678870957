"""Length-prefixed blocks of TLS messages."""

from __future__ import annotations

import pytest
from aioquic import tls
from aioquic._buffer import Buffer, BufferReadError, BufferWriteError

from voicelink.quic import Connection
from voicelink.quic.handshake import blocks


def test_aioquic_reads_and_writes_by_these() -> None:
    assert Connection is not None  # its module installs them
    names = vars(tls)
    assert (names["pull_block"], names["push_block"]) == (blocks.PullBlock, blocks.PushBlock)
    assert names["push_extension"] is blocks.push_extension
    assert (names["pull_opaque"], names["push_opaque"]) == (blocks.pull_opaque, blocks.push_opaque)
    assert (names["pull_list"], names["push_message"]) == (blocks.pull_list, blocks.PushMessage)


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


def test_a_list_is_read_to_its_end_without_the_items_to_skip() -> None:
    buf = Buffer(data=b"\x00\x04\x01\x02\x03\x04rest")

    def odd() -> int:
        number = buf.pull_uint8()
        if number % 2 == 0:
            raise tls.SkipItem
        return number

    assert blocks.pull_list(buf, 2, odd) == [1, 3]
    assert buf.tell() == 6


def test_a_list_whose_last_item_is_cut_off_is_refused() -> None:
    buf = Buffer(data=b"\x03\x00\x01\x00\x02")
    with pytest.raises(tls.AlertDecodeError, match="extra bytes"):
        blocks.pull_list(buf, 1, buf.pull_uint16)
    buf = Buffer(data=b"\x04\x00\x01")
    with pytest.raises(BufferReadError):
        blocks.pull_list(buf, 1, buf.pull_uint16)


def test_a_message_is_hashed_as_it_was_written() -> None:
    schedules = [tls.KeySchedule(tls.CipherSuite.AES_128_GCM_SHA256) for _ in range(2)]
    buf = Buffer(capacity=16)
    buf.push_bytes(b"before")
    with blocks.PushMessage(schedules[0], buf):
        buf.push_bytes(b"message")
    schedules[1].update_hash(b"message")
    with pytest.raises(KeyError), blocks.PushMessage(schedules[0], buf):
        raise KeyError  # what failed is not hashed
    assert schedules[0].hash.finalize() == schedules[1].hash.finalize()

from __future__ import annotations

import os
import random
from itertools import pairwise

import pytest

from quiclb import CidDecoder, CidEncoder, Decoded, EncodeError, QuicLbConfig, unroutable_cid
from quiclb.codec.cid import config_id_of, self_encoded_length
from tests.unit.quiclb.vectors import VECTORS, config_of, fixed_rng, label

KEY = bytes(range(16))


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=label)
def test_encoder_vectors(vector):
    cid = bytes.fromhex(vector["cid"])
    encoder = CidEncoder(config_of(vector), bytes.fromhex(vector["server_id"]), rng=fixed_rng(cid[:1]))
    assert encoder.encode_nonce(bytes.fromhex(vector["nonce"])) == cid


def test_self_encoded_length_counts_what_follows_the_first_byte():
    encoder = CidEncoder(QuicLbConfig(3, 4, 12, KEY), b"abcd", rng=os.urandom, trailing_length=2)
    cid = encoder.encode()
    assert len(cid) == encoder.cid_length == 19
    assert self_encoded_length(cid[0]) == 18
    assert config_id_of(cid[0]) == 3


def test_without_self_encoding_the_low_bits_are_noise():
    config = QuicLbConfig(0, 1, 4, KEY, first_byte_encodes_cid_length=False)
    encoder = CidEncoder(config, b"\1", rng=random.Random(1).randbytes)
    assert len({encoder.encode()[0] for _ in range(400)}) == 32


def test_keyed_nonces_count_up_from_a_random_start():
    encoder = CidEncoder(QuicLbConfig(0, 1, 4, KEY), b"\1", rng=fixed_rng(b"\0\0\0\7"))
    expected = CidEncoder(QuicLbConfig(0, 1, 4, KEY), b"\1", rng=os.urandom)
    assert encoder.encode() == expected.encode_nonce(b"\0\0\0\7")
    assert encoder.encode() == expected.encode_nonce(b"\0\0\0\x08")


def test_plaintext_nonces_show_no_order():
    encoder = CidEncoder(QuicLbConfig(0, 1, 8), b"\1", rng=os.urandom)
    nonces = [int.from_bytes(encoder.encode()[2:], "big") for _ in range(50)]
    assert len({after - before for before, after in pairwise(nonces)}) == 49


def test_trailing_bytes_are_random_and_ignored_by_the_decoder():
    config = QuicLbConfig(0, 4, 12, KEY)
    encoder = CidEncoder(config, b"abcd", rng=os.urandom, trailing_length=3)
    cids = [encoder.encode() for _ in range(20)]
    assert len({cid[17:] for cid in cids}) > 15
    assert {CidDecoder([config]).decode(cid, True) for cid in cids} == {Decoded(0, b"abcd")}


def test_processes_with_one_server_id_issue_different_cids():
    config = QuicLbConfig(0, 2, 6, KEY)
    first, second = (
        CidEncoder(config, b"ab", rng=fixed_rng(b"\0"), nonce_prefix=bytes((process,))) for process in (1, 2)
    )
    assert not {first.encode() for _ in range(100)} & {second.encode() for _ in range(100)}


@pytest.mark.parametrize(
    ("config", "server_id", "options", "message"),
    [
        (QuicLbConfig(2, 8, 8), b"abc", {}, "server ID is 3 bytes, config 2 expects 8"),
        (QuicLbConfig(0, 8, 8), b"12345678", {"trailing_length": 4}, "at most 20 bytes"),
        (QuicLbConfig(0, 1, 4), b"1", {"trailing_length": -1}, "at most 20 bytes"),
        (QuicLbConfig(0, 1, 4), b"1", {"nonce_prefix": b"1"}, "needs a key"),
    ],
)
def test_misuse_raises(config, server_id, options, message):
    with pytest.raises(EncodeError, match=message):
        CidEncoder(config, server_id, rng=os.urandom, **options)


def test_nonce_of_wrong_length_is_refused():
    with pytest.raises(EncodeError, match="nonce is 3 bytes, config 0 expects 4"):
        CidEncoder(QuicLbConfig(0, 1, 4), b"1", rng=os.urandom).encode_nonce(b"123")


@pytest.mark.parametrize("example", VECTORS["unroutable_examples"])
def test_unroutable_cid_has_the_reserved_codepoint_and_its_length(example):
    """The example predates the rule that unroutable connection IDs encode their length: only byte 0 differs."""
    printed = bytes.fromhex(example["first_octet_and_entropy"])
    cid = unroutable_cid(8, fixed_rng(printed[1:]))
    assert cid == b"\xe7" + printed[1:]


@pytest.mark.parametrize("length", [0, 7, 21])
def test_unroutable_cid_refuses_lengths_outside_8_to_20(length):
    with pytest.raises(EncodeError, match="8 to 20 bytes"):
        unroutable_cid(length, os.urandom)

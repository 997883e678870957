from __future__ import annotations

import pytest

from quiclb import QuicLbConfig
from quiclb.codec.crypto import FourPass, aes_encrypt, cipher_for, expand, truncate
from tests.unit.quiclb.feistel_model import four_pass
from tests.unit.quiclb.vectors import VECTORS, config_of, label

KEY = bytes.fromhex("fdf726a9893ec05c0632d3956680baf0")
WORKED_PLAINTEXT = bytes.fromhex("31441a9c69c275")
WORKED_CIPHERTEXT = bytes.fromhex("67947d29be054a")


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=label)
def test_cipher_vectors(vector):
    cipher = cipher_for(config_of(vector))
    plaintext = bytes.fromhex(vector["server_id"] + vector["nonce"])
    ciphertext = bytes.fromhex(vector["cid"])[1:]
    assert cipher.encrypt(plaintext) == ciphertext
    assert cipher.decrypt(ciphertext) == plaintext
    assert cipher.server_id(ciphertext).hex() == vector["server_id"]
    assert config_of(vector).algorithm == vector["algorithm"]


def test_worked_example_step_by_step():
    """Section 5.4.2.4 of the draft; its step 10 misprints the first bytes of the fourth AES output."""
    seen = []
    encrypt_block = aes_encrypt(KEY)

    def recorder(block: bytes) -> bytes:
        seen.append((block.hex(), encrypt_block(block).hex()))
        return encrypt_block(block)

    assert FourPass(recorder, 3, 4).encrypt(WORKED_PLAINTEXT) == WORKED_CIPHERTEXT
    assert seen == [(step["aes_input"], step["aes_output"]) for step in VECTORS["worked_example_trace"]]


def count_passes(vector) -> int:
    calls = []
    encrypt_block = aes_encrypt(bytes.fromhex(vector["key"]))

    def counter(block: bytes) -> bytes:
        calls.append(block)
        return encrypt_block(block)

    FourPass(counter, vector["server_id_len"], vector["nonce_len"]).server_id(bytes.fromhex(vector["cid"])[1:])
    return len(calls)


@pytest.mark.parametrize("vector", [v for v in VECTORS["vectors"] if v["algorithm"] == "four-pass"], ids=label)
def test_load_balancer_skips_the_pass_it_does_not_need(vector):
    assert count_passes(vector) == vector["lb_passes_needed"]


@pytest.mark.parametrize("server_id_length", range(1, 16))
def test_four_pass_agrees_with_an_independent_model_at_every_length(server_id_length):
    for nonce_length in range(4, 20 - server_id_length):
        if server_id_length + nonce_length == 16:
            continue
        config = QuicLbConfig(0, server_id_length, nonce_length, KEY)
        plaintext = bytes(range(0xA1, 0xA1 + config.combined_length))
        ciphertext = four_pass(KEY, plaintext)
        assert cipher_for(config).encrypt(plaintext) == ciphertext
        assert cipher_for(config).decrypt(ciphertext) == plaintext
        assert cipher_for(config).server_id(ciphertext) == plaintext[:server_id_length]


@pytest.mark.parametrize("example", VECTORS["expand_examples"])
def test_expand_example(example):
    assert expand(example["length"], example["pas"], bytes.fromhex(example["input"])).hex() == example["output"]


@pytest.mark.parametrize("length", [4, 20])
def test_expand_refuses_lengths_outside_5_to_19(length):
    with pytest.raises(ValueError, match="5 to 19"):
        expand(length, 1, b"\0\0")


@pytest.mark.parametrize("example", VECTORS["truncate_examples"])
def test_truncate_example(example):
    assert truncate(bytes.fromhex(example["input"]), example["n"]).hex() == example["output"]

from __future__ import annotations

import pytest

from quiclb import Algorithm, ConfigError, QuicLbConfig
from tests.unit.quiclb.vectors import VECTORS


@pytest.mark.parametrize("case", VECTORS["config_validation"], ids=lambda case: case["source"][-40:])
def test_validation_vectors(case):
    def build():
        key = None if case["key_len"] is None else bytes(case["key_len"])
        return QuicLbConfig(case["config_rotation"], case["server_id_len"], case["nonce_len"], key)

    if case["valid"]:
        assert build().cid_length == 1 + case["server_id_len"] + case["nonce_len"]
    else:
        with pytest.raises(ConfigError):
            build()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((7, 4, 4), "config ID must be 0 to 6, got 7"),
        ((-1, 4, 4), "config ID must be 0 to 6, got -1"),
        ((0, 0, 4), "server ID must be at least 1 byte long, got 0"),
        ((0, 1, 3), "nonce must be at least 4 bytes long, got 3"),
        ((0, 10, 10), "server ID and nonce hold at most 19 bytes together, got 20"),
        ((0, 4, 4, bytes(15)), "key must be 16 bytes long, got 15"),
    ],
)
def test_messages_name_the_rule_and_the_value(arguments, message):
    with pytest.raises(ConfigError, match=message):
        QuicLbConfig(*arguments)


def test_repr_hides_the_key():
    assert "55" not in repr(QuicLbConfig(0, 4, 12, b"\x55" * 16))
    assert "UUUU" not in repr(QuicLbConfig(0, 4, 12, b"U" * 16))


@pytest.mark.parametrize(
    ("lengths", "key", "algorithm"),
    [
        ((4, 12), bytes(16), Algorithm.SINGLE_PASS),
        ((4, 11), bytes(16), Algorithm.FOUR_PASS),
        ((4, 12), None, Algorithm.PLAINTEXT),
    ],
)
def test_the_layout_implies_the_algorithm(lengths, key, algorithm):
    server_id_length, nonce_length = lengths
    assert QuicLbConfig(0, server_id_length, nonce_length, key).algorithm is algorithm


def test_the_server_id_of_an_ordinal_is_its_number_big_endian():
    config = QuicLbConfig(0, 2, 14)
    assert [config.ordinal_server_id(ordinal).hex() for ordinal in (0, 11, 65535)] == ["0000", "000b", "ffff"]
    for ordinal in (-1, 65536):
        with pytest.raises(ConfigError, match=f"server IDs for ordinals 0 to 65535, got {ordinal}"):
            config.ordinal_server_id(ordinal)

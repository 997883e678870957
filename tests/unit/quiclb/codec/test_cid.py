from __future__ import annotations

import pytest

from quiclb.codec.cid import config_id_of, first_byte, self_encoded_length


@pytest.mark.parametrize("config_id", range(8))
def test_first_byte_is_three_bits_of_config_and_five_of_length(config_id):
    byte = first_byte(config_id, 17)
    assert byte == config_id * 32 + 17
    assert config_id_of(byte) == config_id
    assert self_encoded_length(byte) == 17


def test_noise_cannot_spill_into_the_config_bits():
    assert config_id_of(first_byte(2, 0xFF)) == 2

from __future__ import annotations

import pytest

from quiclb import CidDecoder, ConfigError, Decoded, QuicLbConfig, Unroutable
from quiclb.codec.decoder import Reason
from tests.unit.quiclb.vectors import VECTORS, config_of, label


@pytest.mark.parametrize("is_long_header", [True, False])
@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=label)
def test_decoder_vectors(vector, is_long_header):
    decoded = CidDecoder([config_of(vector)]).decode(bytes.fromhex(vector["cid"]), is_long_header)
    assert decoded == Decoded(vector["config_rotation"], bytes.fromhex(vector["server_id"]))


@pytest.mark.parametrize(
    "case", [case for case in VECTORS["edge_cases"] if case["active_servers"] is None], ids=lambda case: case["cid"]
)
def test_edge_cases(case):
    decoder = CidDecoder(map(config_of, case["configs"]), check_self_length=case["check_self_length"])
    forms = [True, False] if case["long_header"] is None else [case["long_header"]]
    for is_long_header in forms:
        outcome = decoder.decode(bytes.fromhex(case["cid"]), is_long_header)
        if case["expect_reason"] == "ok":
            assert isinstance(outcome, Decoded)
            assert outcome.server_id.hex() == case["expect_server_id"]
        else:
            assert isinstance(outcome, Unroutable)
            assert outcome.reason == case["expect_reason"]


def test_each_codepoint_has_its_own_layout_and_key():
    vectors = [v for v in VECTORS["vectors"] if v["id"] in ("v03", "v04", "v05", "v07")]
    decoder = CidDecoder(map(config_of, vectors))
    for vector in vectors:
        expected = Decoded(vector["config_rotation"], bytes.fromhex(vector["server_id"]))
        assert decoder.decode(bytes.fromhex(vector["cid"]), True) == expected


def test_short_header_bytes_behind_the_cid_do_not_matter():
    decoder = CidDecoder([QuicLbConfig(0, 3, 4)])
    assert decoder.decode(bytes.fromhex("07c4605e4504cc4f") + bytes(12), False) == Decoded(0, b"\xc4\x60\x5e")


def test_a_tier_reads_a_prefix_of_the_server_id():
    """The ciphers see one string of bytes, so another split of the same sum reads a shorter server ID."""
    for vector in VECTORS["vectors"]:
        if vector["server_id_len"] == 1:
            continue
        whole = config_of(vector)
        tier = QuicLbConfig(whole.config_id, 1, whole.combined_length - 1, whole.key)
        outcome = CidDecoder([tier]).decode(bytes.fromhex(vector["cid"]), True)
        assert outcome == Decoded(whole.config_id, bytes.fromhex(vector["server_id"][:2]))


def test_a_codepoint_given_twice_is_refused():
    with pytest.raises(ConfigError, match="config ID 1 is given twice"):
        CidDecoder([QuicLbConfig(1, 3, 4), QuicLbConfig(1, 4, 4)])


def test_reasons_are_those_of_the_vectors():
    named = {case["expect_reason"] for case in VECTORS["edge_cases"]} - {"ok"}
    assert named <= {reason.value for reason in Reason}

"""Connection IDs: what is encoded is decoded, and nothing that arrives raises."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from quiclb import CidDecoder, CidEncoder, Decoded, QuicLbConfig, SppHeader, Unroutable, unwrap, wrap
from quiclb.net.spp import SppFault
from quiclb.routing.packet import parse_packet


@st.composite
def configs(draw) -> QuicLbConfig:
    server_id_length = draw(st.integers(1, 15))
    return QuicLbConfig(
        config_id=draw(st.integers(0, 6)),
        server_id_length=server_id_length,
        nonce_length=draw(st.integers(4, 19 - server_id_length)),
        key=draw(st.none() | st.binary(min_size=16, max_size=16)),
        first_byte_encodes_cid_length=draw(st.booleans()),
    )


@given(config=configs(), data=st.data(), seed=st.integers())
def test_decoding_inverts_encoding_at_every_legal_length(config, data, seed):
    server_id = data.draw(st.binary(min_size=config.server_id_length, max_size=config.server_id_length))
    trailing = data.draw(st.integers(0, 20 - config.cid_length))
    encoder = CidEncoder(config, server_id, rng=random.Random(seed).randbytes, trailing_length=trailing)
    decoder = CidDecoder([config], check_self_length=config.first_byte_encodes_cid_length)
    cids = [encoder.encode() for _ in range(3)]
    assert len(set(cids)) == 3 or config.key is None
    for cid in cids:
        assert len(cid) == encoder.cid_length
        for is_long_header in (True, False):
            assert decoder.decode(cid, is_long_header) == Decoded(config.config_id, server_id)


@given(
    layouts=st.lists(configs(), max_size=7, unique_by=lambda config: config.config_id),
    cid=st.binary(max_size=255),
    is_long_header=st.booleans(),
    is_checking=st.booleans(),
)
def test_no_connection_id_raises(layouts, cid, is_long_header, is_checking):
    outcome = CidDecoder(layouts, check_self_length=is_checking).decode(cid, is_long_header)
    assert isinstance(outcome, Decoded | Unroutable)
    if isinstance(outcome, Decoded):
        [config] = [config for config in layouts if config.config_id == cid[0] >> 5]
        assert len(outcome.server_id) == config.server_id_length


@given(st.binary(max_size=600))
def test_no_datagram_makes_the_packet_parser_raise(datagram):
    parse_packet(datagram)


ADDRESSES = st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))


@given(client=ADDRESSES, proxy=ADDRESSES, payload=st.binary(max_size=100), data=st.data())
def test_spp_headers_are_reversible_and_no_mutation_raises(client, proxy, payload, data):
    raw = wrap(SppHeader(client, proxy), payload)
    opened = unwrap(raw)
    assert not isinstance(opened, SppFault)
    assert opened[1] == payload
    assert wrap(*opened) == raw
    mutated = bytearray(raw[: data.draw(st.integers(0, len(raw)))])
    if mutated:
        mutated[data.draw(st.integers(0, len(mutated) - 1))] ^= data.draw(st.integers(1, 255))
    unwrap(bytes(mutated))

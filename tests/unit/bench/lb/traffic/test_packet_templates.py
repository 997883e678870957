"""What the load generator replays is valid, and names the backend it says."""

import random
from collections.abc import Iterator

import pytest

from bench.lb.traffic.packet_templates import ANY_BACKEND, packet_templates
from bench.lb.traffic.pool import BACKEND_IPS, CONFIGS, Traffic, server_id
from quiclb import CidDecoder, Decoded


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        backend, length = data[at], data[at + 1]
        yield backend, data[at + 2 : at + 2 + length]
        at += 2 + length


@pytest.mark.parametrize("traffic", list(CONFIGS))
def test_short_headers_carry_the_backends_in_turn(traffic: Traffic) -> None:
    decoder = CidDecoder(CONFIGS.values())
    found = list(records(packet_templates(traffic, 9, random.Random(1).randbytes)))
    assert [backend for backend, _ in found] == [i % len(BACKEND_IPS) for i in range(9)]
    for backend, head in found:
        assert head[0] & 0xC0 == 0x40
        assert decoder.decode(head[1:], is_long_header=False) == Decoded(
            CONFIGS[traffic].config_id, server_id(traffic, backend)
        )
    assert len({head[1:] for _, head in found}) == 9


def test_initials_are_long_headers_of_version_1_for_any_backend() -> None:
    for backend, head in records(packet_templates(Traffic.INITIAL, 5, random.Random(2).randbytes)):
        assert backend == ANY_BACKEND
        assert head[0] & 0xC0 == 0xC0
        assert head[1:5] == b"\0\0\0\x01"
        destination_length = head[5]
        assert head[6 + destination_length] == 8
        assert len(head) == 7 + destination_length + 8 + 1

"""Calls of the frameworks that stand beside the gateway in the benchmark of set-up, over a real link."""

from __future__ import annotations

import os

import pytest

from bench.peers.frameworks import environment
from bench.peers.ways import Way, livekit, moq, smallwebrtc
from bench.setup_time.__main__ import measure
from testbed.link import is_possible

IS_STRICT = bool(os.environ.get("STRICT"))
ONE_WAY_MS = 20
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IS_STRICT and not is_possible(), reason="network namespaces need root, ip and /dev/net/tun"),
]
WAYS = (
    moq("MoQ", 7_301, 1),
    moq("MoQ, WebTransport", 7_302, 1, has_http=True),
    smallwebrtc("SmallWebRTC", 7_303, 1),
    livekit("LiveKit", 7_304, 1),
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_sound_crosses_the_link_after_a_handshake_and_its_echo_crosses_it_again(way: Way) -> None:
    if not IS_STRICT and (why := environment.missing(way.kind)):
        pytest.skip(why)
    found = await measure([way], ONE_WAY_MS, 1, 0)
    assert not found.failed
    [(there_ms, back_ms)] = found.times[way.name]
    assert there_ms >= 3 * ONE_WAY_MS
    assert back_ms >= there_ms + ONE_WAY_MS
    assert found.ports[way.name] == (1 if way.kind == "moq" else 2)  # with a port for signalling

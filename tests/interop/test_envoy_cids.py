"""Connection IDs that Envoy's QUIC-LB generator issues name Envoy's server ID to our decoder.

Envoy appends one byte of its own, the worker's number, so that the connection ID is a byte longer than its first
byte says. `make interop` installs Envoy.
"""

import os
import ssl
from pathlib import Path

import pytest
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent
from aioquic.quic.logger import QuicLogger

from quiclb import CidDecoder, Decoded, QuicLbConfig, Reason, Unroutable
from tests.interop.envoy import HOST, find_envoy, serving

KEY = bytes.fromhex("8f95f09245765f80256934e50c66207f")
WORKER_BYTES = 1

LAYOUTS = {
    "plaintext": (QuicLbConfig(config_id=0, server_id_length=3, nonce_length=4), bytes.fromhex("ed793a")),
    "plaintext-8+7": (QuicLbConfig(config_id=0, server_id_length=8, nonce_length=7), b"server-1"),
    "single-pass": (QuicLbConfig(config_id=2, server_id_length=4, nonce_length=12, key=KEY), b"\x01\x02\x03\x04"),
    "four-pass-odd": (QuicLbConfig(config_id=3, server_id_length=3, nonce_length=4, key=KEY), bytes.fromhex("ed793a")),
    "four-pass-even": (QuicLbConfig(config_id=5, server_id_length=4, nonce_length=10, key=KEY), b"\xff\0\0\x01"),
    "four-pass-long-server-id": (QuicLbConfig(config_id=6, server_id_length=9, nonce_length=4, key=KEY), b"envoy-001"),
}

pytestmark = pytest.mark.skipif(
    not os.environ.get("STRICT") and find_envoy() is None, reason="envoy is not installed: make interop"
)


class Listening(QuicConnectionProtocol):
    """A client that keeps the source connection IDs of the long headers it receives."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type] # what aioquic passes
        self.source_cids: set[bytes] = set()

    def datagram_received(self, data: bytes | str, addr: object) -> None:
        raw = bytes(data) if isinstance(data, bytes) else data.encode()
        if raw[0] & 0x80:
            after_destination = 6 + raw[5]
            length = raw[after_destination]
            self.source_cids.add(raw[after_destination + 1 :][:length])
        super().datagram_received(data, addr)

    def quic_event_received(self, event: QuicEvent) -> None:
        """Envoy's HTTP/3 streams are ignored."""


async def cids_issued(port: int) -> tuple[set[bytes], set[bytes]]:
    """Connect, and return the connection IDs of the handshake and those of NEW_CONNECTION_ID frames."""
    log = QuicLogger()
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, quic_logger=log)
    configuration.server_name = "localhost"
    async with connect(HOST, port, configuration=configuration, create_protocol=Listening) as client:
        assert isinstance(client, Listening)
        await client.ping()
        client.change_connection_id()
        await client.ping()
        handshake = client.source_cids
    events = [event for trace in log.to_dict()["traces"] for event in trace["events"]]
    packets = [event["data"] for event in events if event["name"] == "transport:packet_received"]
    frames = [frame for packet in packets for frame in packet["frames"]]
    issued = {bytes.fromhex(f["connection_id"]) for f in frames if f["frame_type"] == "new_connection_id"}
    return handshake, issued


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_the_server_id_of_every_connection_id_is_envoys(layout: str, tmp_path: Path) -> None:
    config, server_id = LAYOUTS[layout]
    with serving(config, server_id, tmp_path) as port:
        handshake, issued = await cids_issued(port)
    decoder = CidDecoder([config])
    assert handshake, "no long header came back"
    assert issued, "envoy gave no spare connection ID"
    for cid in handshake | issued:
        assert len(cid) == config.cid_length + WORKER_BYTES
        assert decoder.decode(cid, is_long_header=True) == Decoded(config.config_id, server_id)
    for cid in issued:
        in_short_header = cid + b"what follows in the packet"
        assert decoder.decode(in_short_header[:20], is_long_header=False) == Decoded(config.config_id, server_id)


async def test_the_wrong_key_does_not_find_the_server_id(tmp_path: Path) -> None:
    config, server_id = LAYOUTS["single-pass"]
    with serving(config, server_id, tmp_path) as port:
        handshake, issued = await cids_issued(port)
    decoder = CidDecoder([QuicLbConfig(config_id=2, server_id_length=4, nonce_length=12, key=bytes(16))])
    assert all(decoder.decode(cid, is_long_header=True) != Decoded(2, server_id) for cid in handshake | issued)


async def test_the_optional_length_check_refuses_envoys_appended_byte(tmp_path: Path) -> None:
    config, server_id = LAYOUTS["single-pass"]
    with serving(config, server_id, tmp_path) as port:
        handshake, _ = await cids_issued(port)
    decoder = CidDecoder([config], check_self_length=True)
    for cid in handshake:
        assert decoder.decode(cid, is_long_header=True) == Unroutable(Reason.SELF_LENGTH_MISMATCH, config.config_id)

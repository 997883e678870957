from __future__ import annotations

import os

import pytest

from quiclb.backends.probe import PROBE_BYTES, Probe
from quiclb.routing.packet import LongHeader, parse_packet
from voicelink.quic.stateless import SUPPORTED_VERSIONS, parse_long_header, version_negotiation


def test_a_probe_is_a_clients_first_datagram_of_a_reserved_version():
    versions = set()
    for _ in range(200):
        probe = Probe.make(os.urandom)
        packet = parse_packet(probe.datagram)
        assert isinstance(packet, LongHeader)
        assert (packet.dcid, packet.scid) == (probe.dcid, probe.scid)
        assert len(packet.dcid) >= 8
        assert packet.version & 0x0F0F0F0F == 0x0A0A0A0A
        assert len(probe.datagram) == PROBE_BYTES >= 1200
        assert probe.datagram[0] & 0xC0 == 0xC0
        versions.add(packet.version)
    assert len(versions) > 150


def negotiation(dcid: bytes, scid: bytes, version: bytes = bytes(4)) -> bytes:
    return b"\x8a" + version + bytes((len(dcid),)) + dcid + bytes((len(scid),)) + scid + b"\0\0\0\1"


def test_version_negotiation_with_the_ids_exchanged_is_the_answer():
    probe = Probe.make(os.urandom)
    assert probe.is_answered_by(negotiation(probe.scid, probe.dcid))
    header = parse_long_header(probe.datagram)
    assert header is not None
    assert header.version not in {int(version) for version in SUPPORTED_VERSIONS}
    assert probe.is_answered_by(version_negotiation(header, os.urandom))


@pytest.mark.parametrize(
    "reply",
    [
        lambda probe: probe.datagram,
        lambda probe: negotiation(probe.dcid, probe.scid),
        lambda probe: negotiation(probe.scid, b""),
        lambda probe: negotiation(b"", probe.dcid),
        lambda probe: negotiation(probe.scid, probe.dcid, b"\0\0\0\1"),
        lambda probe: negotiation(probe.scid, probe.dcid)[:15],
        lambda probe: b"",
        lambda probe: b"\x40" + probe.scid,
        lambda probe: negotiation(Probe.make(os.urandom).scid, probe.dcid),
    ],
)
def test_nothing_else_is(reply):
    probe = Probe.make(os.urandom)
    assert not probe.is_answered_by(reply(probe))

"""The health probe: a QUIC packet that every server answers without knowing of probes.

A long header with a version reserved for the purpose (0x?a?a?a?a, RFC 9000 section 15), as long as a client's first
datagram must be. The answer is Version Negotiation with the probe's connection IDs exchanged (RFC 8999 section 6), so
that only a host that has seen the probe can send it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from quiclb.routing.packet import LongHeader, parse_packet

PROBE_BYTES: Final = 1200
CID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe: send `datagram`, keep the rest to recognise the answer."""

    dcid: bytes
    scid: bytes
    datagram: bytes

    @classmethod
    def make(cls, rng: Callable[[int], bytes]) -> Probe:
        """Draw version and connection IDs from `rng`, usually `os.urandom`."""
        dcid, scid = rng(CID_BYTES), rng(CID_BYTES)
        version = bytes(byte & 0xF0 | 0x0A for byte in rng(4))
        first = bytes((rng(1)[0] | 0xC0,))
        header = first + version + bytes((CID_BYTES,)) + dcid + bytes((CID_BYTES,)) + scid
        return cls(dcid, scid, header.ljust(PROBE_BYTES, b"\0"))

    def is_answered_by(self, datagram: bytes) -> bool:
        """Whether this is Version Negotiation for this probe."""
        packet = parse_packet(datagram)
        if not isinstance(packet, LongHeader) or packet.version != 0:
            return False
        return (packet.dcid, packet.scid) == (self.scid, self.dcid)

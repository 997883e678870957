"""An IPv4 packet of TCP or UDP: its addresses and ports, and how a NAT rewrites them (RFC 1624 for the checksums)."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from testbed.simnet.addresses import Address

TCP: Final = 6
UDP: Final = 17
_IP_CHECKSUM: Final = 10
_CHECKSUM: Final = {TCP: 16, UDP: 6}
_FRAGMENT_OFFSET: Final = 0x1FFF


@dataclass(frozen=True, slots=True)
class Packet:
    """`header` is the length of its IP header in bytes; the first fragment counts as a packet, later ones do not."""

    data: bytes
    header: int
    protocol: int
    source: Address
    to: Address

    def from_source(self, address: Address) -> bytes:
        """The packet as if sent from there."""
        return self._rewritten(address, 12, self.header)

    def to_destination(self, address: Address) -> bytes:
        """The packet as if sent to there."""
        return self._rewritten(address, 16, self.header + 2)

    def _rewritten(self, address: Address, host_at: int, port_at: int) -> bytes:
        data = bytearray(self.data)
        host, port = socket.inet_aton(address.host), address.port.to_bytes(2, "big")
        checksum_at = self.header + _CHECKSUM[self.protocol]
        old_host, old_port = bytes(data[host_at : host_at + 4]), bytes(data[port_at : port_at + 2])
        data[host_at : host_at + 4], data[port_at : port_at + 2] = host, port
        _update(data, _IP_CHECKSUM, old_host, host)
        if self.protocol == TCP or any(data[checksum_at : checksum_at + 2]):  # 0: UDP without a checksum
            _update(data, checksum_at, old_host + old_port, host + port)
        return bytes(data)


def read(data: bytes) -> Packet | None:
    """The packet, or `None` where it is not IPv4 with the ports of TCP or UDP in it."""
    if len(data) < 20 or data[0] >> 4 != 4:
        return None
    header, protocol = 4 * (data[0] & 15), data[9]
    if protocol not in _CHECKSUM or int.from_bytes(data[6:8], "big") & _FRAGMENT_OFFSET:
        return None
    if len(data) < header + _CHECKSUM[protocol] + 2:
        return None
    source_port, port = (
        int.from_bytes(data[header : header + 2], "big"),
        int.from_bytes(data[header + 2 : header + 4], "big"),
    )
    source, to = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
    return Packet(data, header, protocol, Address(source, source_port), Address(to, port))


def _update(data: bytearray, at: int, old: bytes, new: bytes) -> None:
    total = ~int.from_bytes(data[at : at + 2], "big") & 0xFFFF
    for index in range(0, len(old), 2):
        total += ~int.from_bytes(old[index : index + 2], "big") & 0xFFFF
        total += int.from_bytes(new[index : index + 2], "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    data[at : at + 2] = (~total & 0xFFFF).to_bytes(2, "big")

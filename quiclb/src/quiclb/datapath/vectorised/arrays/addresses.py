"""Socket addresses of many datagrams at once, as the kernel writes them and as the SPP header carries them."""

from __future__ import annotations

import socket
import struct
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from quiclb.datapath.linux import libc
from quiclb.datapath.linux.batches import Addresses, Flags, Sources, Words
from quiclb.datapath.vectorised.arrays.word_index import WordIndex
from quiclb.net.address import Address, Kind, ip_facts, ip_text, is_ipv6

Records = npt.NDArray[np.void]

HEADER: Final = np.dtype(
    {
        "names": [
            *("magic", "client", "client_high", "client_low", "client_prefix", "client_v4"),
            *("vip", "vip_high", "vip_low", "vip_v4", "port", "raw_port"),
        ],
        "formats": [
            *(">u2", "V16", ">u8", ">u8", "u4", "u4"),
            *(("u4", (4,)), ">u8", ">u8", ("u4", (1,)), ">u2", "u2"),
        ],
        "offsets": [0, 2, 2, 10, 10, 14, 18, 18, 26, 30, 34, 34],
        "itemsize": 38,
    }
)
"""The SPP header, the addresses in it read in several ways."""


class Family(Protocol):
    """What differs between IPv4 and IPv6 sockets. `names` are socket addresses, `headers` SPP headers."""

    @property
    def name_length(self) -> int:
        """Bytes of a socket address."""

    def name(self, address: Address) -> bytes:
        """A socket address to send to, padded to the size of `libc.SOCKADDR`."""

    def address(self, name: bytes) -> Address:
        """The inverse of `name`."""

    def index(self, addresses: list[Address]) -> WordIndex:
        """An index of these addresses for `keys`."""

    def keys(self, names: Addresses) -> tuple[Words, ...]:
        """What `index` knows the socket addresses by."""

    def flow_words(self, names: Addresses) -> tuple[Words, Words, Words]:
        """High and low word of the 16-byte addresses, and the ports."""

    def doubtful_names(self, names: Addresses) -> Flags:
        """Which socket addresses may not be a client's; wrongly suspecting a few costs time only."""

    def doubtful_headers(self, headers: Records, names: Addresses) -> Flags:
        """Which headers may not name a client that this socket can reach; `names` are their `names_of`."""

    def write_headers(self, names: Addresses, headers: Records) -> None:
        """Put clients into headers."""

    def names_of(self, headers: Records) -> Addresses:
        """The socket addresses of the clients that headers name."""

    def write_local_destinations(self, local_destinations: Sources, headers: Records) -> None:
        """Put the addresses that datagrams were sent to into headers; the port is there."""

    def doubtful_local_sources(self, headers: Records) -> Flags:
        """Which headers may not name an address to send from, for a wildcard VIP."""

    def local_sources(self, headers: Records) -> Sources:
        """The addresses that headers say to send from, all zero for the kernel to choose."""


def family_of(vip: Address, *, is_loopback_allowed: bool) -> Family:
    """The family of a socket bound to `vip`."""
    return Ipv6(vip, is_loopback_allowed) if ":" in vip[0] else Ipv4(vip, is_loopback_allowed)


class Ipv4:
    """`sockaddr_in`: family, port and address, 8 bytes, then 8 of nothing."""

    name_length: Final = libc.SOCKADDR_IN_LENGTH

    def __init__(self, vip: Address, is_loopback_allowed: bool) -> None:
        packed = ip_facts(vip[0]).packed[12:]
        self._vip_key = np.uint64(int.from_bytes(struct.pack("!H", vip[1]) + packed, "big"))
        # bound to all of the machine's addresses, any of them with this port is the VIP
        self._wildcard_port = vip[1] if ip_facts(vip[0]).kind is Kind.UNSPECIFIED else 0
        self._suspects = _ipv4_suspects(is_loopback_allowed)

    def name(self, address: Address) -> bytes:
        # the kernel refuses the wrong family, and so must we not make an IPv4 address of an IPv6 one
        family = socket.AF_INET6 if is_ipv6(address) else socket.AF_INET
        packed = ip_facts(address[0]).packed[12:]
        return struct.pack("=H", family) + struct.pack("!H", address[1]) + packed + bytes(24)

    def address(self, name: bytes) -> Address:
        return socket.inet_ntop(socket.AF_INET, name[4:8]), int.from_bytes(name[2:4], "big")

    def index(self, addresses: list[Address]) -> WordIndex:
        places = [place for place, address in enumerate(addresses) if not is_ipv6(address)]
        return WordIndex([(int.from_bytes(self.name(addresses[place])[2:8], "big"),) for place in places], places, 1)

    def keys(self, names: Addresses) -> tuple[Words, ...]:
        return (names.view(_SOCKADDR_IN)["all"].astype(np.uint64) & _LOW_48,)

    def flow_words(self, names: Addresses) -> tuple[Words, Words, Words]:
        fields = names.view(_SOCKADDR_IN)
        low = fields["address"].astype(np.uint64) | _MAPPED_LOW
        return np.zeros(len(names), np.uint64), low, fields["port"].astype(np.uint64)

    def doubtful_names(self, names: Addresses) -> Flags:
        fields = names.view(_SOCKADDR_IN)
        doubtful: Flags = self._suspects[fields["start"]]
        doubtful |= fields["port"] == 0
        if self._wildcard_port:
            doubtful |= fields["port"] == self._wildcard_port
        doubtful |= (fields["all"].astype(np.uint64) & _LOW_48) == self._vip_key
        return doubtful

    def doubtful_headers(self, headers: Records, names: Addresses) -> Flags:
        doubtful = self.doubtful_names(names)
        doubtful |= headers["client_high"] != 0
        doubtful |= headers["client_prefix"] != _MAPPED_PREFIX
        return doubtful

    def write_headers(self, names: Addresses, headers: Records) -> None:
        fields = names.view(_SOCKADDR_IN)
        headers["client_v4"] = fields["raw_address"]
        headers["raw_port"] = fields["raw_port"]

    def names_of(self, headers: Records) -> Addresses:
        names = np.zeros(len(headers), libc.SOCKADDR)
        fields = names.view(_SOCKADDR_IN)
        fields["family"] = socket.AF_INET
        fields["raw_port"] = headers["raw_port"]
        fields["raw_address"] = headers["client_v4"]
        return names

    def write_local_destinations(self, local_destinations: Sources, headers: Records) -> None:
        headers["vip_v4"] = local_destinations

    def doubtful_local_sources(self, headers: Records) -> Flags:
        doubtful: Flags = headers["vip_high"] != 0
        doubtful |= headers["vip_low"] >> _HALF_WORD != _MAPPED
        return doubtful

    def local_sources(self, headers: Records) -> Sources:
        local_sources: Sources = headers["vip_v4"]
        return local_sources


class Ipv6:
    """`sockaddr_in6`: family, port, flow label, address, scope. IPv4 comes and goes v4-mapped."""

    name_length: Final = libc.SOCKADDR_IN6_LENGTH

    def __init__(self, vip: Address, is_loopback_allowed: bool) -> None:
        self._vip = _words(vip)
        # bound to all of the machine's addresses, any of them with this port is the VIP
        self._is_wildcard = vip[0] == "::"
        self._ipv4_suspects = _ipv4_suspects(is_loopback_allowed)
        # the first 16 bits: unspecified and loopback addresses, link-local ones, multicast
        self._suspects = np.zeros(1 << 16, np.bool_)
        self._suspects[0] = True
        self._suspects[0xFE80:0xFEC0] = True
        self._suspects[0xFF00:] = True

    def name(self, address: Address) -> bytes:
        head = struct.pack("=H", socket.AF_INET6) + struct.pack("!H", address[1]) + bytes(4)
        return head + ip_facts(address[0]).packed + bytes(8)

    def address(self, name: bytes) -> Address:
        return ip_text(name[8:24]), int.from_bytes(name[2:4], "big")

    def index(self, addresses: list[Address]) -> WordIndex:
        return WordIndex([_words(address) for address in addresses], range(len(addresses)), 3)

    def keys(self, names: Addresses) -> tuple[Words, ...]:
        return self.flow_words(names)

    def flow_words(self, names: Addresses) -> tuple[Words, Words, Words]:
        fields = names.view(_SOCKADDR_IN6)
        high, low = fields["high"].astype(np.uint64), fields["low"].astype(np.uint64)
        return high, low, fields["port"].astype(np.uint64)

    def doubtful_names(self, names: Addresses) -> Flags:
        return self._doubtful(*self.flow_words(names))

    def doubtful_headers(self, headers: Records, names: Addresses) -> Flags:
        high, low = headers["client_high"].astype(np.uint64), headers["client_low"].astype(np.uint64)
        doubtful = self._doubtful(high, low, headers["port"].astype(np.uint64))
        if not self._is_wildcard:
            doubtful |= (high == 0) & (low >> _HALF_WORD == _MAPPED)
        return doubtful

    def write_headers(self, names: Addresses, headers: Records) -> None:
        fields = names.view(_SOCKADDR_IN6)
        headers["client"] = fields["address"]
        headers["raw_port"] = fields["raw_port"]

    def names_of(self, headers: Records) -> Addresses:
        names = np.zeros(len(headers), libc.SOCKADDR)
        fields = names.view(_SOCKADDR_IN6)
        fields["family"] = socket.AF_INET6
        fields["raw_port"] = headers["raw_port"]
        fields["address"] = headers["client"]
        return names

    def write_local_destinations(self, local_destinations: Sources, headers: Records) -> None:
        headers["vip"] = local_destinations

    def doubtful_local_sources(self, headers: Records) -> Flags:
        doubtful: Flags = _is_mapped(headers, "client") != _is_mapped(headers, "vip")
        return doubtful

    def local_sources(self, headers: Records) -> Sources:
        local_sources: Sources = headers["vip"].copy()
        # the kernel wants its leave to choose in the client's family
        is_other = _is_mapped(headers, "client") != _is_mapped(headers, "vip")
        local_sources[is_other] = (0, 0, 0, 0)
        local_sources[is_other & _is_mapped(headers, "client"), 2] = _MAPPED_PREFIX
        return local_sources

    def _doubtful(self, high: Words, low: Words, ports: Words) -> Flags:
        doubtful = self._suspects[(high >> _TOP_16).astype(np.int64)]
        mapped = np.flatnonzero((high == 0) & (low >> _HALF_WORD == _MAPPED))
        doubtful[mapped] = self._ipv4_suspects[((low[mapped] >> _MIDDLE_16) & _LOW_16).astype(np.int64)]
        doubtful |= ports == 0
        if self._is_wildcard:
            doubtful |= ports == self._vip[2]
        vip_high, vip_low, vip_port = self._vip
        doubtful |= (low == vip_low) & (high == vip_high) & (ports == vip_port)
        return doubtful


def _is_mapped(headers: Records, whose: str) -> Flags:
    is_mapped: Flags = headers[f"{whose}_high"] == 0
    is_mapped &= headers[f"{whose}_low"] >> _HALF_WORD == _MAPPED
    return is_mapped


def _ipv4_suspects(is_loopback_allowed: bool) -> Flags:
    """By the first two bytes of an IPv4 address: is it loopback, link-local, multicast, broadcast or unspecified?"""
    suspects = np.zeros((256, 256), np.bool_)
    suspects[0, 0] = True
    suspects[127] = not is_loopback_allowed
    suspects[169, 254] = True
    suspects[224:240] = True
    suspects[255, 255] = True
    return suspects.reshape(-1)


def _words(address: Address) -> tuple[int, int, int]:
    high, low = struct.unpack("!QQ", ip_facts(address[0]).packed)
    return high, low, address[1]


_SOCKADDR_IN = np.dtype(
    {
        "names": ["family", "all", "port", "raw_port", "address", "raw_address", "start"],
        "formats": ["u2", ">u8", ">u2", "u2", ">u4", "u4", ">u2"],
        "offsets": [0, 0, 2, 2, 4, 4, 4],
        "itemsize": libc.SOCKADDR.itemsize,
    }
)
_SOCKADDR_IN6 = np.dtype(
    {
        "names": ["family", "port", "raw_port", "address", "high", "low"],
        "formats": ["u2", ">u2", "u2", "V16", ">u8", ">u8"],
        "offsets": [0, 2, 2, 8, 8, 16],
        "itemsize": libc.SOCKADDR.itemsize,
    }
)
_MAPPED = np.uint64(0xFFFF)
_MAPPED_LOW = np.uint64(0xFFFF << 32)
_MAPPED_PREFIX = np.frombuffer(b"\0\0\xff\xff", np.uint32)[0]
_HALF_WORD = np.uint64(32)
_TOP_16 = np.uint64(48)
_MIDDLE_16 = np.uint64(16)
_LOW_16 = np.uint64(0xFFFF)
_LOW_48 = np.uint64(2**48 - 1)

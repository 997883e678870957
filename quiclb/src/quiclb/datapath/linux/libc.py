"""The two system calls that Python lacks, and the C structures they take, as numpy record layouts (64-bit Linux)."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

import numpy as np

IS_SUPPORTED: Final = sys.platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == 8

MMSGHDR: Final = np.dtype(
    {
        "names": ["name", "namelen", "iov", "iovlen", "control", "controllen", "flags", "length"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "i4", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
"""`struct mmsghdr`: a `struct msghdr` of 56 bytes, then the bytes received or sent."""

IOVEC: Final = np.dtype([("base", "u8"), ("length", "u8")])

CMSGHDR: Final = np.dtype([("length", "u8"), ("level", "i4"), ("type", "i4")])
"""`struct cmsghdr`, 16 bytes; its data follow, padded to 8."""

SOCKADDR: Final = np.dtype((np.void, 32))
"""Room for a `sockaddr_in` (16 bytes) or `sockaddr_in6` (28), of one size so that addresses are taken by index."""

SOCKADDR_IN_LENGTH: Final = 16
SOCKADDR_IN6_LENGTH: Final = 28

# linux/udp.h, linux/in.h, linux/in6.h, asm-generic/socket.h; the socket module has only some of them
SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104
IP_PKTINFO: Final = 8
IP_RECVERR: Final = 11
IPV6_RECVERR: Final = 25
IPV6_RECVPKTINFO: Final = 49
IPV6_PKTINFO: Final = 50
SO_MEMINFO: Final = 55
SK_MEMINFO_DROPS: Final = 8
SO_REUSEPORT: Final = 15

UIO_MAXIOV: Final = 1024
"""The most messages one call takes, and the most pieces of one message."""


def recvmmsg(fd: int, headers: int, count: int, flags: int) -> int:
    """Receive into up to `count` prepared headers at address `headers`; returns how many, or `-errno`."""
    received: int = _recvmmsg(fd, headers, count, flags, None)
    return received if received >= 0 else -ctypes.get_errno()


def sendmmsg(fd: int, headers: int, count: int, flags: int) -> int:
    """Send `count` prepared headers; returns how many went before the first bad one, `-errno` if that is the first."""
    sent: int = _sendmmsg(fd, headers, count, flags)
    return sent if sent >= 0 else -ctypes.get_errno()


if IS_SUPPORTED:
    _library = ctypes.CDLL(None, use_errno=True)
    _recvmmsg = _library.recvmmsg
    _recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    _sendmmsg = _library.sendmmsg
    _sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

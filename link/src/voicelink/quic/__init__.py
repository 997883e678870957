"""A QUIC connection for both sides: aioquic's, with what RFC 9000 asks and aioquic 1.7.2 leaves out.

This package alone touches private names of aioquic's `QuicConnection` and its loss recovery. Another release may rename
any of them, so the version is checked on import, and tests/unit/gateway/quic/test_connection.py holds one test for
each gap that is closed here.
"""

from voicelink.quic.cid_source import CidSource, RandomCids
from voicelink.quic.engine import AIOQUIC_VERSION, H3_NO_ERROR, Connection
from voicelink.quic.events import (
    PathFailed,
    PathValidated,
    PeerClosed,
    PeerMoved,
    PreferredAddressOffered,
    ServerMoved,
)
from voicelink.quic.limits.workload import SharedLoad
from voicelink.quic.options import ConnectionOptions, PreferredAddress

__all__ = [
    "AIOQUIC_VERSION",
    "H3_NO_ERROR",
    "CidSource",
    "Connection",
    "ConnectionOptions",
    "PathFailed",
    "PathValidated",
    "PeerClosed",
    "PeerMoved",
    "PreferredAddress",
    "PreferredAddressOffered",
    "RandomCids",
    "ServerMoved",
    "SharedLoad",
]

"""A QUIC connection for both sides: aioquic's, with what RFC 9000 asks and aioquic 1.7.2 leaves out.

aioquic is imported here and in `voicelink.h3` only. `engine.py` holds the overrides and private names of its
connection; events are those of `events.py`.
"""

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import CipherSuite, SessionTicket

from voicelink.quic.cid_source import CidSource, RandomCids
from voicelink.quic.engine import AIOQUIC_VERSION, H3_NO_ERROR, MAX_PEER_CIDS, NO_STREAM, Connection
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
from voicelink.quic.start import FirstInitial, ResumptionCallbacks

__all__ = [
    "AIOQUIC_VERSION",
    "H3_NO_ERROR",
    "MAX_PEER_CIDS",
    "NO_STREAM",
    "CidSource",
    "CipherSuite",
    "Connection",
    "ConnectionOptions",
    "FirstInitial",
    "PathFailed",
    "PathValidated",
    "PeerClosed",
    "PeerMoved",
    "PreferredAddress",
    "PreferredAddressOffered",
    "QuicConfiguration",
    "QuicErrorCode",
    "RandomCids",
    "ResumptionCallbacks",
    "ServerMoved",
    "SessionTicket",
    "SharedLoad",
]

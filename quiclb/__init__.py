"""QUIC-LB: connection IDs that say which server they belong to, and a load balancer that keeps no state.

Servers make connection IDs with `CidEncoder`; load balancers read them with `CidDecoder`, or run a whole
`Forwarder`. The algorithms are those of draft-ietf-quic-load-balancers.
"""

from quiclb.config import Algorithm, QuicLbConfig
from quiclb.daemon import Forwarder
from quiclb.decoder import CidDecoder, Decoded, Reason, Unroutable
from quiclb.encoder import CidEncoder, unroutable_cid
from quiclb.envelope import SppHeader, unwrap, wrap
from quiclb.errors import (
    ConfigError,
    EncodeError,
    EnvelopeError,
    NonceExhaustedError,
    QuicLbError,
    ScrapeError,
    StartError,
)
from quiclb.routing import route
from quiclb.settings import Settings, load_settings

__all__ = [
    "Algorithm",
    "CidDecoder",
    "CidEncoder",
    "ConfigError",
    "Decoded",
    "EncodeError",
    "EnvelopeError",
    "Forwarder",
    "NonceExhaustedError",
    "QuicLbConfig",
    "QuicLbError",
    "Reason",
    "ScrapeError",
    "Settings",
    "SppHeader",
    "StartError",
    "Unroutable",
    "load_settings",
    "route",
    "unroutable_cid",
    "unwrap",
    "wrap",
]

"""QUIC-LB: connection IDs that say which server they belong to, and a load balancer that keeps no state.

Servers make connection IDs with `CidEncoder`; load balancers read them with `CidDecoder`, or run a whole
`LoadBalancer`. The algorithms are those of draft-ietf-quic-load-balancers.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from quiclb.codec.config import Algorithm, QuicLbConfig
    from quiclb.codec.decoder import CidDecoder, Decoded, Reason, Unroutable
    from quiclb.codec.encoder import CidEncoder, unroutable_cid
    from quiclb.daemon.load_balancer import LoadBalancer
    from quiclb.errors import (
        ConfigError,
        EncodeError,
        NonceExhaustedError,
        QuicLbError,
        ScrapeError,
        SppError,
        StartError,
    )
    from quiclb.net.spp import SppFault, SppHeader, unwrap, wrap
    from quiclb.routing.router import route
    from quiclb.settings.loader import Settings, load_settings

__all__ = [
    "Algorithm",
    "CidDecoder",
    "CidEncoder",
    "ConfigError",
    "Decoded",
    "EncodeError",
    "LoadBalancer",
    "NonceExhaustedError",
    "QuicLbConfig",
    "QuicLbError",
    "Reason",
    "ScrapeError",
    "Settings",
    "SppError",
    "SppFault",
    "SppHeader",
    "StartError",
    "Unroutable",
    "load_settings",
    "route",
    "unroutable_cid",
    "unwrap",
    "wrap",
]

# a server that only makes connection IDs need not load a load balancer
_HOMES = {
    "codec.config": ("Algorithm", "QuicLbConfig"),
    "daemon.load_balancer": ("LoadBalancer",),
    "codec.decoder": ("CidDecoder", "Decoded", "Reason", "Unroutable"),
    "codec.encoder": ("CidEncoder", "unroutable_cid"),
    "net.spp": ("SppFault", "SppHeader", "unwrap", "wrap"),
    "errors": (
        "ConfigError",
        "EncodeError",
        "NonceExhaustedError",
        "QuicLbError",
        "ScrapeError",
        "SppError",
        "StartError",
    ),
    "routing.router": ("route",),
    "settings.loader": ("Settings", "load_settings"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_RENAMED: Final = {"EnvelopeError": "SppError", "EnvelopeFault": "SppFault", "Forwarder": "LoadBalancer"}
"""Deprecated names, and those that replace them."""


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        warnings.warn(f"quiclb.{name} is deprecated, use quiclb.{_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        name = _RENAMED[name]
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return __all__

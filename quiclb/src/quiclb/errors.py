"""The exceptions of this package.

```
QuicLbError
├── ConfigError        a layout, pool or settings value that breaks a rule (also a ValueError)
│   └── UnreadableError  a file that the system does not let us read; it may later
├── EncodeError        a connection ID that cannot be made from what the caller gave (also a ValueError)
│   └── NonceExhaustedError  no nonce is left under this key: switch the config or issue unroutable CIDs
├── SppError           an address that the SPP header cannot carry (also a ValueError)
├── ScrapeError        the metrics of a running load balancer cannot be had
└── StartError         the load balancer cannot start: address in use, no permission, wrong address
```

Nothing that arrives in a datagram raises; parsers and decoders return what is wrong with it.
"""

from __future__ import annotations


class QuicLbError(Exception):
    """The root of the tree."""


class ConfigError(QuicLbError, ValueError):
    """A value breaks a rule of the configuration; the message names the rule and the value."""


class UnreadableError(ConfigError):
    """A file cannot be read: it is missing, not permitted, or no descriptor is free. Another try may succeed."""


class EncodeError(QuicLbError, ValueError):
    """A connection ID cannot be made from these arguments."""


class NonceExhaustedError(EncodeError):
    """Every nonce under this key was used once; install a new config or use `unroutable_cid` (draft section 9.6)."""


class SppError(QuicLbError, ValueError):
    """An address does not fit the SPP header."""


class ScrapeError(QuicLbError):
    """A metrics endpoint does not answer, or not with metrics of quiclb."""


class StartError(QuicLbError):
    """The load balancer could not open its sockets."""


def explain(error: Exception) -> str:
    """Return a line for a log: the message of an expected error, with the type's name in front of any other."""
    return str(error) if isinstance(error, OSError | QuicLbError) else f"{type(error).__name__}: {error}"

"""The reason why a socket could not be bound, in a few words."""

from __future__ import annotations

import errno


def explain_refusal(error: OSError) -> str:
    """Say in a few words why an address could not be bound."""
    reasons = {
        errno.EADDRINUSE: "the address is in use",
        errno.EADDRNOTAVAIL: "this machine does not have the address",
        errno.EACCES: "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE",
    }
    # uvloop hides the number in the cause
    cause = error if error.errno or not isinstance(error.__cause__, OSError) else error.__cause__
    return reasons.get(cause.errno or 0, (cause.strerror or str(cause)).lower())

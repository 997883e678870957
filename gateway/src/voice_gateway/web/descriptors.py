"""How many file descriptors this process may have, and how many of them TCP connections get."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

HELD_BACK: Final = 160
"""Descriptors that TCP clients never get: QUIC and listening sockets, the store, the agent's processes, files being
read, and 32 connections of the admin port, so that health probes are answered while everything else is taken."""
ADMIN_CONNECTIONS: Final = 32
LEAST_TCP_CONNECTIONS: Final = 16


@dataclass(frozen=True, slots=True)
class DescriptorBudget:
    """`limit` is the soft RLIMIT_NOFILE; `tcp_connections` is what telephony, WebSocket and page have together."""

    limit: int
    tcp_connections: int

    @classmethod
    def of(cls, limit: int, most: int) -> DescriptorBudget:
        """Share out `limit` descriptors; `most` is how many connections are wanted at all."""
        if limit == resource.RLIM_INFINITY:
            return cls(limit, most)
        return cls(limit, max(LEAST_TCP_CONNECTIONS, min(most, limit - HELD_BACK)))

    @classmethod
    def of_process(cls, most: int) -> DescriptorBudget:
        """Share out what this process may have now."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls.of(soft, most)


def raise_descriptor_limit(wanted: int) -> int:
    """Raise the soft RLIMIT_NOFILE to `wanted`, or as far as the hard limit allows; return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= target:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return target

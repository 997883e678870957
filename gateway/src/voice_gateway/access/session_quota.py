"""How many sessions each address and each subject has, and how many connections wait to begin one. Sans-IO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from voice_gateway.access.limits import AccessLimits, LimitExceeded, Principal

RETRY_AFTER_S: Final = 10.0
MAX_WAITING: Final = 512
MAX_WAITING_OF_ADDRESS: Final = 64
"""A client waits for a round trip at most, so this many of one NAT may come back within the same one."""

_C = TypeVar("_C", bound=Hashable)


class SessionQuota:
    """Counts sessions by address and by subject: `enter` when one begins, `leave` when it ends."""

    def __init__(self) -> None:
        self._taken: Counter[tuple[str, bytes | str]] = Counter()

    def enter(self, principal: Principal) -> None:
        self._taken.update(_keys(principal))

    def leave(self, principal: Principal) -> None:
        for key in _keys(principal):
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]

    def full(self, principal: Principal, limits: AccessLimits) -> LimitExceeded | None:
        """Return the limit that one more session would exceed."""
        most = {"address": limits.address_sessions, "subject": limits.subject_sessions}
        for kind, name in _keys(principal):
            limit = most[kind]
            if limit is not None and self._taken[kind, name] >= limit:
                return LimitExceeded(
                    f"{kind}_sessions", f"sessions of one {kind} at a time: at most {limit}", RETRY_AFTER_S
                )
        return None


class WaitingConnections(Generic[_C]):
    """The connections that were accepted and have said neither `start` nor `resume`, by the network of their address.

    They are no sessions. Beyond the share of a network its oldest connection gives way to a new one, and where all
    places are taken the oldest of the network with the most. A client waits for a round trip only, so that one which
    waits for longer keeps no other out. `None` is the network of telephone carriers, which has no share.
    """

    def __init__(self, most: int = MAX_WAITING, most_of_address: int = MAX_WAITING_OF_ADDRESS) -> None:
        self._most = most
        self._most_of_address = most_of_address
        self._networks: dict[_C, bytes | None] = {}
        self._counts: Counter[bytes | None] = Counter()

    def __len__(self) -> int:
        return len(self._networks)

    def enter(self, connection: _C, network: bytes | None) -> _C | None:
        """Let the connection wait; return the one to close in its place, if need be."""
        replaced = None
        if network is not None and self._counts[network] >= self._most_of_address:
            replaced = self._oldest(network)
        elif len(self._networks) >= self._most:
            (largest, _), *_ = self._counts.most_common(1)
            replaced = self._oldest(largest)
        if replaced is not None:
            self.leave(replaced)
        self._networks[connection] = network
        self._counts[network] += 1
        return replaced

    def _oldest(self, network: bytes | None) -> _C:
        return next(connection for connection, of in self._networks.items() if of == network)

    def leave(self, connection: _C) -> None:
        """The connection has said what it wants, or is gone; harmless for one that does not wait."""
        if connection not in self._networks:
            return
        network = self._networks.pop(connection)
        self._counts[network] -= 1
        if not self._counts[network]:
            del self._counts[network]


def _keys(principal: Principal) -> list[tuple[str, bytes | str]]:
    named: tuple[tuple[str, bytes | str | None], ...] = (("address", principal.network), ("subject", principal.subject))
    return [(kind, name) for kind, name in named if name is not None]

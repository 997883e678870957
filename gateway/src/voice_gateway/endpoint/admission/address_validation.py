"""Which new clients get a handshake, which must validate their address first, and which are refused. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from quiclb.routing.packet import LongHeader
from voice_gateway.endpoint.cids.issuers import ServerCidSource
from voice_gateway.endpoint.counters import EndpointCounters
from voice_gateway.endpoint.credentials import Credentials, TokenVerdict
from voice_gateway.endpoint.sockets.client_paths import Path
from voice_gateway.endpoint.admission.retry import RejectedToken
from voice_gateway.endpoint.settings import EndpointSettings
from voice_gateway.net.network import network_of
from voice_gateway.net.token_buckets import Buckets, Rate
from voicelink.quic import QuicErrorCode
from voicelink.quic.stateless import can_decrypt, first_initial, initial_close, retry

NETWORK_FAILURES: Final = Rate(per_s=1.0, burst=8.0)
"""Undecryptable Initials of one network, beyond which its new clients are answered with Retry."""
ALL_FAILURES: Final = Rate(per_s=32.0, burst=64.0)
"""Undecryptable Initials of all networks, beyond which every new client is: a flood may forge any source."""


class Handshake(Enum):
    """The decision on a new client."""

    ADMIT = auto()
    RETRY = auto()
    """It must show first that its address is its own (RFC 9000 section 8.1.2)."""
    REFUSE = auto()


class HandshakePolicy(Protocol):
    """Decides by address; called for each first packet of a connection."""

    def decide(self, host: str, *, is_proven: bool, now: float) -> Handshake:
        """`host` is the client's, by the SPP header where there is one; `is_proven` says that it cannot be spoofed.

        `now` is the event loop's time. `RETRY` is never the answer to a proven address.
        """


class DecryptionFailures:
    """Undecryptable Initials by network (`voice_gateway.net.network.network_of`) and altogether, in token buckets.

    Memory is bounded by that of `Buckets`. Times are the event loop's, in seconds.
    """

    def __init__(self) -> None:
        self._by_network = Buckets(NETWORK_FAILURES)
        self._all = Buckets(ALL_FAILURES, most_keys=1)

    def count(self, network: bytes, now: float) -> None:
        """Record one failure."""
        self._by_network.take(network, 1, now)
        self._all.take(None, 1, now)

    def are_too_many(self, network: bytes, now: float) -> bool:
        """Return whether a client of this network must prove its address before more of its packets are decrypted."""
        return self._by_network.wait_s(network, 1, now) > 0 or self._all.wait_s(None, 1, now) > 0


@dataclass(frozen=True, slots=True)
class Admitted:
    """A new connection may begin; `verdict` is what its token proves."""

    verdict: TokenVerdict


class AddressValidation:
    """Decides on the first packet of each connection; without a `policy` no limit by address applies.

    A client gets a Retry while many handshakes are unfinished, while its network sends Initials that cannot be
    decrypted, or where the policy says so. It is refused where the endpoint is full or stopped, its token is wrong, or
    the policy says so.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        counters: EndpointCounters,
        credentials: Credentials,
        policy: HandshakePolicy | None,
    ) -> None:
        self.is_accepting = True
        self._max_connections = settings.max_connections
        self._retry_after_half_open = settings.retry_after_half_open
        self._counters = counters
        self._credentials = credentials
        self._policy = policy
        self._failures = DecryptionFailures()

    def decide(
        self,
        header: LongHeader,
        datagram: bytes,
        path: Path,
        cids: ServerCidSource,
        *,
        connections: int,
        half_open: int,
        now: float,
    ) -> Admitted | bytes | None:
        """Return the packet to answer with, `None` for no answer, or `Admitted`.

        `connections` and `half_open` count those that there are; `now` is the event loop's time.
        """
        counters = self._counters
        initial = first_initial(header, datagram)
        if initial is None:
            counters.malformed += 1
            return None
        if not self.is_accepting:
            counters.refused_stopped += 1
            return initial_close(header, QuicErrorCode.CONNECTION_REFUSED)
        if connections >= self._max_connections:
            counters.refused_full += 1
            return initial_close(header, QuicErrorCode.CONNECTION_REFUSED)
        network = network_of(path[0])
        must_prove = self._must_prove(network, half_open, now)
        if must_prove and not initial.token:
            return self._retry(header, path, cids)
        if not can_decrypt(header, initial, datagram):
            counters.undecryptable_initials += 1
            self._failures.count(network, now)
            return None
        verdict = self._credentials.judge(initial.token, path, header.dcid) if initial.token else None
        if isinstance(verdict, RejectedToken):
            counters.retry_tokens_rejected += 1
            return initial_close(header, QuicErrorCode.INVALID_TOKEN)
        if verdict is None and must_prove:
            return self._retry(header, path, cids)
        decision = self._decision(path, is_proven=verdict is not None, now=now)
        if decision is Handshake.RETRY:
            counters.retries_for_address += 1
            return self._retry(header, path, cids)
        if decision is Handshake.REFUSE:
            counters.refused_address += 1
            return initial_close(header, QuicErrorCode.CONNECTION_REFUSED)
        return Admitted(verdict)

    def _must_prove(self, network: bytes, half_open: int, now: float) -> bool:
        if half_open >= self._retry_after_half_open:
            return True
        if self._failures.are_too_many(network, now):
            self._counters.retries_for_undecryptable += 1
            return True
        return False

    def _decision(self, path: Path, *, is_proven: bool, now: float) -> Handshake:
        if self._policy is None:
            return Handshake.ADMIT
        return self._policy.decide(path[0], is_proven=is_proven, now=now)

    def _retry(self, header: LongHeader, path: Path, cids: ServerCidSource) -> bytes:
        source_cid = cids.issue()
        while source_cid == header.dcid:  # RFC 9000 section 17.2.5.1
            source_cid = cids.issue()
        self._counters.retries_sent += 1
        token = self._credentials.retry_token(path, header.dcid, source_cid)
        return retry(header, source_cid, token)

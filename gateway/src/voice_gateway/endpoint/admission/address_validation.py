"""Address validation (RFC 9000 section 8.1), sans-IO.

Which new clients get a handshake, which must prove their address first, and which are refused; and the tokens that
prove an address, of Retry packets and of NEW_TOKEN frames.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from quiclb.routing.packet import LongHeader
from voice_gateway.endpoint.cids.issuers import ServerCidSource
from voice_gateway.endpoint.counters import EndpointCounters
from voice_gateway.endpoint.sealing import PERIOD_S, SealingKeys
from voice_gateway.endpoint.settings import EndpointSettings
from voice_gateway.endpoint.sockets.client_paths import Path, packed_host
from voice_gateway.net.network import network_of
from voice_gateway.net.token_buckets import Buckets, Rate
from voicelink.quic import QuicErrorCode
from voicelink.quic.cid_source import RandomBytes
from voicelink.quic.handshake.initial_keys import InitialPair
from voicelink.quic.stateless import first_initial, initial_close, opening_keys, retry

NETWORK_FAILURES: Final = Rate(per_s=1.0, burst=8.0)
"""Undecryptable Initials of one network, beyond which its new clients are answered with Retry."""
ALL_FAILURES: Final = Rate(per_s=32.0, burst=64.0)
"""Undecryptable Initials of all networks, beyond which every new client is: a flood may forge any source."""
RETRY_TOKEN_LIFETIME_S: Final = 30.0
"""Clients return a Retry token at once, so it lives only this long (RFC 9000 section 8.1.4)."""
NEW_TOKEN_LIFETIME_S: Final = PERIOD_S
_NUMBER_BYTES: Final = 12
_MAX_REMEMBERED: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class ValidToken:
    """The client's address is proven; both connection IDs go into the transport parameters."""

    original_destination_cid: bytes
    retry_source_cid: bytes


@dataclass(frozen=True, slots=True)
class RejectedToken:
    """A token of ours that does not fit this packet: the connection attempt ends with INVALID_TOKEN."""

    reason: str


class RetryTokens:
    """Issues tokens for Retry packets and checks those that clients return; `secrets` are those of `SealingKeys`.

    A token holds the time, the client's address and port, and the connection IDs that the transport parameters must
    repeat (RFC 9000 section 7.3), sealed so that only workers with the same secrets can make or read one. Times are
    seconds since 1970, the same on every worker.
    """

    def __init__(self, secrets: Sequence[bytes], rng: RandomBytes) -> None:
        self._keys = SealingKeys(secrets, b"retry token 2", rng)

    def issue(self, address: Path, original_destination_cid: bytes, retry_source_cid: bytes, now: float) -> bytes:
        """Return a token for the client at `address`, to be sent in a Retry whose source is `retry_source_cid`."""
        plain = b"".join(
            (
                struct.pack("!Q", int(now * 1000)),
                _packed(address),
                bytes((len(original_destination_cid),)),
                original_destination_cid,
                retry_source_cid,
            )
        )
        return self._keys.seal(plain, now)

    def check(
        self, token: bytes, address: Path, destination_cid: bytes, now: float
    ) -> ValidToken | RejectedToken | None:
        """Check the token of an Initial packet; `None` is no Retry token of these secrets, and counts as none."""
        plain = self._keys.open(token, now)
        if plain is None:
            return None
        issued_at_ms = int.from_bytes(plain[:8], "big")
        original_end = 27 + plain[26]
        original, retry_source = plain[27:original_end], plain[original_end:]
        if plain[8:26] != _packed(address):
            return RejectedToken("the token was issued to another address")
        if retry_source != destination_cid:
            return RejectedToken("the packet is not sent to the connection ID of the Retry")
        if abs(now - issued_at_ms / 1000) > RETRY_TOKEN_LIFETIME_S:
            return RejectedToken(f"the token is older than {RETRY_TOKEN_LIFETIME_S:.0f} s")
        return ValidToken(original, retry_source)


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """The client is at the address of an earlier connection (RFC 9000 section 8.1.3)."""


class NewTokens:
    """Issues tokens for later connections, and checks those that clients bring back to any worker.

    A token is good for one host address at any port, for `NEW_TOKEN_LIFETIME_S`, and once at each worker: a worker
    remembers what it has accepted, and workers do not ask each other. Replayed at another worker, a token saves a
    Retry, no more (RFC 9000 section 8.1.4).
    """

    def __init__(self, secrets: Sequence[bytes], rng: RandomBytes, used: SingleUse | None = None) -> None:
        self.used = used or SingleUse(NEW_TOKEN_LIFETIME_S)
        """What was accepted here; hand it on to the next when secrets are replaced."""
        self._keys = SealingKeys(secrets, b"new token 1", rng)
        self._rng = rng

    def issue(self, address: Path, now: float) -> bytes:
        """Return a token for the client whose address was proven."""
        plain = struct.pack("!Q", int(now * 1000)) + packed_host(address) + self._rng(_NUMBER_BYTES)
        return self._keys.seal(plain, now)

    def check(self, token: bytes, address: Path, now: float) -> KnownAddress | None:
        """Check the token of an Initial packet; one that proves nothing counts as none, never as an error."""
        plain = self._keys.open(token, now)
        if plain is None or plain[8:24] != packed_host(address):
            return None
        age_s = now - int.from_bytes(plain[:8], "big") / 1000
        return KnownAddress() if abs(age_s) <= NEW_TOKEN_LIFETIME_S and self.used.take(plain[24:], now) else None


class SingleUse:
    """Remembers what was used for `lifetime_s`, so that it counts once.

    With `capacity` entries nothing new is taken until some expire.
    """

    def __init__(self, lifetime_s: float, capacity: int = _MAX_REMEMBERED) -> None:
        self._lifetime_s = lifetime_s
        self._capacity = capacity
        self._forget_at: dict[bytes, float] = {}

    def take(self, entry: bytes, now: float) -> bool:
        """Return whether this is the first use; False, too, where it cannot be remembered."""
        self._forget(now)
        if entry in self._forget_at or len(self._forget_at) >= self._capacity:
            return False
        self._forget_at[entry] = now + self._lifetime_s
        return True

    def _forget(self, now: float) -> None:
        while self._forget_at:
            oldest = next(iter(self._forget_at))
            if self._forget_at[oldest] > now:
                return
            del self._forget_at[oldest]


def _packed(address: Path) -> bytes:
    port: int = address[1]
    return packed_host(address) + port.to_bytes(2, "big")


TokenVerdict = ValidToken | KnownAddress | RejectedToken | None
"""`None` is no token of these secrets, or one that proves nothing here: the client is unknown."""


class AddressTokens:
    """Issues and checks the tokens of Retry packets and NEW_TOKEN frames, by one wall clock, in seconds since 1970."""

    def __init__(self, secrets: Sequence[bytes], wall_clock: Callable[[], float], rng: RandomBytes) -> None:
        self._wall_clock = wall_clock
        self._rng = rng
        self._retry_tokens = RetryTokens(secrets, rng)
        self._new_tokens = NewTokens(secrets, rng)

    def renew(self, secrets: Sequence[bytes]) -> None:
        """Seal with other secrets from now on; what was sealed with those that stay among them stays good."""
        self._retry_tokens = RetryTokens(secrets, self._rng)
        self._new_tokens = NewTokens(secrets, self._rng, self._new_tokens.used)

    def retry_token(self, path: Path, original_destination_cid: bytes, retry_source_cid: bytes) -> bytes:
        """A token for a Retry packet; see `RetryTokens.issue`."""
        return self._retry_tokens.issue(path, original_destination_cid, retry_source_cid, self._wall_clock())

    def new_token(self, path: Path) -> bytes:
        """A token for the next connection from this path's host."""
        return self._new_tokens.issue(path, self._wall_clock())

    def check(self, token: bytes, path: Path, destination_cid: bytes) -> TokenVerdict:
        """Return what the token of an Initial packet proves."""
        now = self._wall_clock()
        verdict = self._retry_tokens.check(token, path, destination_cid, now)
        return verdict or self._new_tokens.check(token, path, now)


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
        self._by_network.take(network, 1, now)
        self._all.take(None, 1, now)

    def are_too_many(self, network: bytes, now: float) -> bool:
        """Return whether a client of this network must prove its address before more of its packets are decrypted."""
        return self._by_network.wait_s(network, 1, now) > 0 or self._all.wait_s(None, 1, now) > 0


@dataclass(frozen=True, slots=True)
class Admitted:
    """A new connection may begin; `verdict` is what its token proves, `keys` are those that opened its first packet."""

    verdict: TokenVerdict
    keys: InitialPair


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
        tokens: AddressTokens,
        policy: HandshakePolicy | None,
    ) -> None:
        self.is_accepting = True
        self._max_connections = settings.max_connections
        self._retry_after_half_open = settings.retry_after_half_open
        self._counters = counters
        self._tokens = tokens
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
        keys = opening_keys(header, initial, datagram)
        if keys is None:
            counters.undecryptable_initials += 1
            self._failures.count(network, now)
            return None
        verdict = self._tokens.check(initial.token, path, header.dcid) if initial.token else None
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
        return Admitted(verdict, keys)

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
        token = self._tokens.retry_token(path, header.dcid, source_cid)
        return retry(header, source_cid, token)

"""Stateless resets for connections that are gone (RFC 9000 section 10.3)."""

from __future__ import annotations

from collections.abc import Iterable

from voice_gateway.endpoint.cids.issuers import ServerCidSource
from voice_gateway.endpoint.counters import EndpointCounters
from voice_gateway.endpoint.settings import EndpointSettings
from voicelink.net.token_bucket import TokenBucket
from voicelink.quic.cid_source import RandomBytes
from voicelink.quic.stateless import stateless_reset


class Resets:
    """Decides on datagrams for unknown connection IDs, and counts what became of them."""

    def __init__(self, settings: EndpointSettings, counters: EndpointCounters, rng: RandomBytes) -> None:
        self._resets_for_pool = settings.resets_for_lost_servers
        self._counters = counters
        self._rng = rng
        self._bucket = TokenBucket(settings.max_resets_per_s, settings.max_resets_per_s)

    def answer(
        self, cid: bytes, byte_count: int, sources: Iterable[ServerCidSource], *, is_forwarded: bool, now: float
    ) -> bytes | None:
        """Return the reset for a datagram of so many bytes, or `None` where it gets none.

        One for a connection ID of another server of the pool is due only if a load balancer, or the kernel by its
        supervisor's program, brought it here.
        """
        sources = tuple(sources)
        owner = next((each for each in sources if each.owns(cid)), None)
        if owner is None and is_forwarded and self._resets_for_pool:
            owner = next((each for each in sources if each.is_of_pool(cid)), None)
        if owner is None:
            self._counters.unknown_foreign += 1
            return None
        reset = stateless_reset(byte_count, owner.reset_token(cid), self._rng)
        if reset is None:
            self._counters.malformed += 1
            return None
        if not self._bucket.take(1, now):
            self._counters.stateless_resets_suppressed += 1
            return None
        self._counters.stateless_resets_sent += 1
        return reset

"""Sends health probes from the inner side and collects what comes back."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from quiclb.backends.health import Health, HealthMonitor, HealthPolicy
from quiclb.backends.probe import Probe
from quiclb.errors import StartError
from quiclb.net.address import Address, format_address, ipv4_mapped, is_ipv6, is_wildcard, normalise
from quiclb.net.kernel.bind_errors import explain_refusal
from quiclb.net.kernel.socket_options import PathMtu, set_path_mtu
from quiclb.net.spp import SppFault, SppHeader, unwrap, wrap

TICK_S: Final = 0.02
"""The least time between two rounds: probes that are due close together go out together."""


class Prober(asyncio.DatagramProtocol):
    """Probes the addresses given to `watch` and calls `changed` after their `health` did.

    `inner` is the load balancer's inner side, whose IP address the probes come from; `vip` is named in their SPP header
    as in any client's. Await `start` first (it raises `StartError`), `stop` in the end. `results` counts by (address,
    `answered`, `missed` or `error`). `too_large` is called when a probe, as long as a client's first datagram, does not
    fit a path.
    """

    def __init__(
        self,
        policy: HealthPolicy,
        inner: Address,
        vip: Address,
        changed: Callable[[], None],
        *,
        rng: Callable[[int], bytes],
        jitter: Callable[[], float],
        too_large: Callable[[], None] = lambda: None,
    ) -> None:
        self._monitor = HealthMonitor(policy, jitter)
        self.results: Counter[tuple[Address, str]] = self._monitor.results
        self._inner = inner
        self._vip = vip
        self._changed = changed
        self._too_large = too_large
        self._sending_to: Address | None = None
        self._rng = rng
        self._probes: dict[Address, Probe] = {}
        self._client: Address = inner
        self._transport: asyncio.DatagramTransport | None = None
        self._closed: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self._inner[0], 0))
        except OSError as error:
            source = format_address((self._inner[0], 0))
            raise StartError(f"cannot probe backends from {source}: {explain_refusal(error)}") from None
        self._transport = transport
        _forbid_fragments(transport.get_extra_info("socket"))
        bound = normalise(transport.get_extra_info("sockname"))
        # replies come back to the sender; the client named must only look like one (RFC 5737)
        self._client = ("192.0.2.1", bound[1]) if is_wildcard(bound) else bound
        self._schedule()

    async def stop(self) -> None:
        """Probe no longer; `health` stays as it is."""
        if self._timer is not None:
            self._timer.cancel()
        transport, self._transport = self._transport, None
        if transport is not None and self._closed is not None:
            transport.abort()
            await self._closed

    def watch(self, addresses: Iterable[Address]) -> None:
        """Probe these from now on."""
        wanted = set(addresses)
        self._monitor.watch(wanted, self._now())
        self._probes = {address: probe for address, probe in self._probes.items() if address in wanted}
        self._schedule()

    def adopt(self, policy: HealthPolicy) -> None:
        """Use this policy from now on."""
        self._monitor.policy = policy

    def refused(self, address: Address) -> None:
        """Forwarded datagrams came back from this address: find out at once."""
        self._monitor.refused(address, self._now())
        self._tell()
        self._schedule()

    def doubt(self) -> None:
        """Turn `down` into `doubtful` everywhere and probe at once; `health` has changed on return."""
        self._monitor.doubt(self._now())
        self._monitor.has_changed = False
        self._schedule()

    def health(self, address: Address) -> Health:
        return self._monitor.health(address)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        source = normalise((addr[0], addr[1]))
        probe = self._probes.get(source)
        opened = unwrap(data)
        # some servers answer the bare packet
        reply = data if isinstance(opened, SppFault) else opened[1]
        if probe is None or not probe.is_answered_by(reply):
            return
        del self._probes[source]
        self._monitor.answered(source, self._now())
        self._tell()
        self._schedule()

    def error_received(self, exc: Exception) -> None:
        """A probe was not sent, or an ICMP error came; that does not say for which probe, and the timeout will."""
        if self._sending_to is not None:
            self.results[self._sending_to, "error"] += 1
        if isinstance(exc, OSError) and exc.errno == errno.EMSGSIZE:
            self._too_large()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def _round(self) -> None:
        self._timer = None
        for address in self._monitor.poll(self._now()):
            self._probe(address)
        self._tell()
        self._schedule()

    def _probe(self, address: Address) -> None:
        if self._transport is None:
            return
        probe = Probe.make(self._rng)
        self._probes[address] = probe
        ip = ipv4_mapped(address[0]) if is_ipv6(self._inner) else address[0]
        self._sending_to = address
        try:
            self._transport.sendto(wrap(SppHeader(self._client, self._vip), probe.datagram), (ip, address[1]))
        except (OSError, ValueError) as error:
            self.error_received(error)
        finally:
            self._sending_to = None

    def _tell(self) -> None:
        if self._monitor.has_changed:
            self._monitor.has_changed = False
            self._changed()

    def _schedule(self) -> None:
        deadline = self._monitor.next_deadline()
        if deadline is None or self._transport is None:
            return
        when = max(deadline, self._now() + TICK_S)
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._round)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _forbid_fragments(sock: Any) -> None:
    """A path too narrow for clients' first datagrams must fail the probe, too."""
    if sock is not None:
        set_path_mtu(sock, PathMtu.OBEY_ICMP)

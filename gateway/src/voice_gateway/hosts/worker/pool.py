"""The agent hosts of a worker: watches each one's health and load, and chooses where a call goes."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

import structlog

from voice_gateway.agent.base import AudioFormat
from voice_gateway.errors import AgentError
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.messages import (
    HOST_PROTOCOL_VERSION,
    Hello,
    Load,
    Refused,
    Watch,
    decode_from_host,
    encode_control,
)
from voice_gateway.hosts.worker.link import HostLink, LinkRefused, dial
from voicelink.wire import Malformed

RETRY_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""How long to wait before the next attempt at an address; the last one again and again."""
TICK_S: Final = 0.25
BLOCKED_MS: Final = 1_000.0
"""A loop that is so far behind is blocked: its host gets no further calls meanwhile."""
SILENT_S: Final = 3.0
"""A host that has reported nothing for so long is taken for dead: it reports its load from a thread of its own."""
_RATES_HZ: Final = range(8_000, 48_001)
_log = structlog.get_logger("voice_gateway.hosts")


class HostState(StrEnum):
    """What is known of a host."""

    READY = "ready"
    BLOCKED = "blocked"
    """It reports that its event loop is behind: its calls wait, unless that lasts."""
    DRAINING = "draining"
    """It takes no further calls, and its own go elsewhere at a quiet moment."""
    DEAD = "dead"
    """Its connection ended, or it says nothing: its calls go elsewhere at once."""


class HostedCall(Protocol):
    """A call that a host has."""

    def leave(self, cause: str) -> None:
        """The host has to be left now."""

    def leave_when_quiet(self) -> None:
        """Leave the host at a moment in which neither side speaks."""

    def tick(self, now: float) -> None:
        """Look at what time alone changes."""


@dataclass(slots=True)
class PoolCounters:
    """What happened to calls because of their hosts."""

    lost: Counter[str] = field(default_factory=Counter)
    """Calls that left a host, by cause."""
    given_up: int = 0
    """Calls that ended because no host could take them."""
    fenced: int = 0
    """Messages of hosts that a call had left."""


class Host:
    """One process at an address, from its `hello` until its watching connection ends."""

    def __init__(self, address: HostAddress, hello: Hello, now: float) -> None:
        self.address = address
        self.hello = hello
        self.state = HostState.READY
        self.load = Load(calls=0, lag_ms=0.0)
        self.calls: set[HostedCall] = set()
        self.reported_at = now
        self.blocked_since: float | None = None

    @property
    def weight(self) -> tuple[bool, int]:
        """By which hosts are compared, the least one first: whether its loop is slow, and its calls."""
        return self.load.lag_ms > BLOCKED_MS / 10, max(self.load.calls, len(self.calls))


class HostPool:
    """Dials each address again and again. `choose` waits for a host that takes calls."""

    def __init__(self, places: Sequence[tuple[HostAddress, HostCredentials]], move_after_s: float = 10.0) -> None:
        self.counters = PoolCounters()
        self.hello: Hello | None = None
        """What the first host said; others must say the same."""
        self._places = tuple(places)
        self._move_after_s = move_after_s
        self._hosts: dict[HostAddress, list[Host]] = {address: [] for address, _ in self._places}
        self._faults: dict[HostAddress, str] = {}
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.attempts = itertools.count(1)
        """Numbers each attempt to open a call at a host, above all before."""

    def start(self) -> None:
        """Begin to dial."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep(address, shown)) for address, shown in self._places]
        self._tasks.append(loop.create_task(self._tick()))

    async def stop(self) -> None:
        """Close all that watches."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def first_hello(self, timeout_s: float) -> Hello:
        """Wait for a host; raises `AgentError` with what each address said."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.hello is None:
                    await self._change()
        except TimeoutError:
            said = "; ".join(f"{address}: {self._faults.get(address, 'no answer')}" for address, _ in self._places)
            raise AgentError(f"no agent host can be used within {timeout_s:g} s: {said}") from None
        return self.hello

    def best(self, *, but: Host | None = None) -> Host | None:
        """Return the host that has most room, if one takes calls."""
        ready = [host for host in self.hosts() if host.state is HostState.READY and host is not but]
        return min(ready, key=lambda host: host.weight, default=None)

    async def choose(self, timeout_s: float, *, but: Host | None = None) -> Host | None:
        """Wait for a host that takes calls, another one than `but` where there is one; `None` after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                while (host := self.best(but=but) or self.best()) is None:
                    await self._change()
        except TimeoutError:
            return None
        return host

    def hosts(self) -> list[Host]:
        """Return the hosts that are there."""
        return [host for hosts in self._hosts.values() for host in hosts]

    def states(self) -> Mapping[str, HostState]:
        """Return the state of each address: that of its newest host."""
        return {str(address): hosts[-1].state if hosts else HostState.DEAD for address, hosts in self._hosts.items()}

    def credentials(self, host: Host) -> HostCredentials:
        """Return what a connection to the host must show."""
        return next(shown for address, shown in self._places if address == host.address)

    def lost(self, host: Host) -> None:
        """A call's connection to the host ended: it gets no further calls until it reports again."""
        self._note(host, HostState.DEAD, "a call's connection ended")

    async def _keep(self, address: HostAddress, shown: HostCredentials) -> None:
        attempt = 0
        while True:
            fault = await self._try(address, shown)
            if fault is None:
                attempt = 0
                continue
            if self._faults.get(address) != fault:
                self._faults[address] = fault
                _log.warning("agent_host_unusable", host=str(address), reason=fault)
            await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            attempt += 1

    async def _try(self, address: HostAddress, shown: HostCredentials) -> str | None:
        """Watch what listens there until it drains or ends; return why there was no host."""
        try:
            link = await dial(address, shown)
        except LinkRefused as error:
            return str(error)
        except OSError as error:
            return _reason(error)
        watched = _Watched(self, address, link)
        link.start([encode_control([Watch()])], watched.message_received, watched.lost)
        try:
            await watched.is_left.wait()
        except asyncio.CancelledError:
            watched.lost("the worker stops")
            link.close()
            raise
        return watched.fault

    def enter(self, address: HostAddress, hello: Hello) -> Host | str:
        """A host said what it is: keep it, or return why it cannot be used."""
        if hello.version != HOST_PROTOCOL_VERSION:
            return f"it speaks version {hello.version} of the host protocol, this worker {HOST_PROTOCOL_VERSION}"
        if hello.audio_format not in {form.value for form in AudioFormat}:
            return f"it wants audio as {hello.audio_format!r}, this worker gives pcm16, pcmu or opus"
        if hello.input_rate_hz not in _RATES_HZ or hello.output_rate_hz not in _RATES_HZ:
            return f"it has audio at {hello.input_rate_hz} and {hello.output_rate_hz} Hz, wanted are 8,000 to 48,000"
        if self.hello is not None and hello != self.hello:
            return f"it has {_described(hello)}, the other hosts have {_described(self.hello)}"
        self.hello = hello
        self._faults.pop(address, None)
        host = Host(address, hello, asyncio.get_running_loop().time())
        self._hosts[address].append(host)
        _log.info("agent_host_state", host=str(address), state=HostState.READY, agent=hello.agent)
        self._notify()
        return host

    def leave(self, host: Host, reason: str) -> None:
        """The host's watching connection ended."""
        if host in self._hosts[host.address]:
            self._hosts[host.address].remove(host)
        self._note(host, HostState.DEAD, reason)
        for call in list(host.calls):
            call.leave("dead")
        self._notify()

    def report(self, host: Host, load: Load) -> None:
        """The host said how it is."""
        now = asyncio.get_running_loop().time()
        host.load, host.reported_at = load, now
        if load.is_draining:
            self._note(host, HostState.DRAINING, "")
            return
        is_blocked = load.lag_ms > BLOCKED_MS
        host.blocked_since = (host.blocked_since or now) if is_blocked else None
        self._note(host, HostState.BLOCKED if is_blocked else HostState.READY, f"{load.lag_ms:.0f} ms behind")

    def _note(self, host: Host, state: HostState, reason: str) -> None:
        if host.state is state:
            return
        _log.info(
            "agent_host_state",
            host=str(host.address),
            state=state,
            was=host.state,
            calls=len(host.calls),
            reason=reason or None,
        )
        host.state = state
        if state is HostState.DRAINING:
            for call in list(host.calls):
                call.leave_when_quiet()
        self._notify()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while True:
            due = now + TICK_S
            await asyncio.sleep(TICK_S)
            now = loop.time()
            for host in self.hosts():
                host.reported_at += now - due  # while this loop was held up itself, no report could be read
                if now - host.reported_at > SILENT_S:
                    self._leave_all(host, HostState.DEAD, f"no report for {SILENT_S:g} s")
                elif host.blocked_since is not None and now - host.blocked_since > self._move_after_s:
                    self._leave_all(host, HostState.BLOCKED, "blocked for too long")
                for call in list(host.calls):
                    call.tick(now)

    def _leave_all(self, host: Host, state: HostState, reason: str) -> None:
        self._note(host, state, reason)
        if self.best(but=host) is not None:
            for call in list(host.calls):
                call.leave(state.value)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self) -> None:
        await self._changed.wait()


class _Watched:
    """A connection that holds no call."""

    def __init__(self, pool: HostPool, address: HostAddress, link: HostLink) -> None:
        self.is_left = asyncio.Event()
        """Set once the address may be dialled again: the host ended, or drains and has left the address."""
        self.fault: str | None = None
        self._pool = pool
        self._address = address
        self._link = link
        self._host: Host | None = None

    def message_received(self, raw: bytes) -> None:
        messages = decode_from_host(raw, AudioFormat.PCM16)
        if isinstance(messages, Malformed):
            self._refuse(messages.reason)
            return
        for message in messages:
            match message:
                case Hello() if self._host is None:
                    host = self._pool.enter(self._address, message)
                    if isinstance(host, str):
                        self._refuse(host)
                        return
                    self._host = host
                case Refused(reason=reason):
                    self._refuse(reason)
                    return
                case Load() if self._host is not None:
                    self._pool.report(self._host, message)
                    if message.is_draining:
                        self.is_left.set()

    def lost(self, reason: str) -> None:
        if self._host is not None:
            self._pool.leave(self._host, reason)
        elif self.fault is None:
            self.fault = reason
        self.is_left.set()

    def _refuse(self, reason: str) -> None:
        self.fault = reason
        self._link.close()
        self.lost(reason)


def _described(hello: Hello) -> str:
    return f"the agent {hello.agent!r} with {hello.audio_format} at {hello.input_rate_hz} and {hello.output_rate_hz} Hz"


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason[:1].lower() + reason[1:]

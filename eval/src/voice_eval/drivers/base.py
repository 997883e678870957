"""The base classes of drivers.

A `Driver` knows how to reach one kind of server and which kind of link leads there; a `Line` is one call. A driver of
yours subclasses both and is named in the entry-point group `voice_eval.drivers`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from voice_eval.call.loudspeaker import Loudspeaker
from voice_eval.call.record import CallRecord
from voice_eval.errors import EvalError
from voice_eval.network.link import Address, Link, UdpLink
from voice_eval.scenario.model import Scenario

Clock = Callable[[], float]
"""Seconds since the call began."""
_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server is, and what it takes to be let in. `options` are the driver's own, as `key=value`."""

    url: str
    ca_file: Path | None = None
    certificate_hash: str | None = None
    token: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dialling:
    """What a driver needs for one call: the link to dial, the scenario, and the record to fill."""

    link: Link
    scenario: Scenario
    record: CallRecord
    clock: Clock
    call_id: str
    worker: str | None = None
    """Which worker has to take the call, where the driver can choose."""

    @property
    def address(self) -> Address:
        """The near end of the link."""
        return self.link.address


class Line(ABC):
    """One call. `send` is called every 20 ms; nothing but `open` and `finish` may wait.

    What is over says so in `fault`; a line that reconnects by itself adds a mark to the record.
    """

    hears_at_hz: ClassVar[int] = 24_000

    def __init__(self, dialling: Dialling) -> None:
        self.dialling = dialling
        self.record = dialling.record
        self.clock = dialling.clock
        self.record.played_audio.rate_hz = self.hears_at_hz
        self.loudspeaker = Loudspeaker(self.hears_at_hz)
        self.fault: str | None = None
        """Why the call is over before the caller hung up."""

    @property
    def is_agent_speaking(self) -> bool | None:
        """Whether the agent is in the middle of an answer, `None` where only the sound says so."""
        return None

    @abstractmethod
    async def open(self) -> None:
        """Call, and return when the server takes audio; raises `CallFailed`."""

    @abstractmethod
    def send(self, pcm: bytes) -> None:
        """Take 20 ms of PCM16 at 16 kHz from the caller, silence too."""

    def play(self, seconds: float) -> bytes:
        """Return what the loudspeaker plays now, PCM16 at `hears_at_hz`; nothing where it is silent."""
        return self.loudspeaker.pull(seconds)

    def press(self, digit: str) -> None:
        """Press a key of the telephone."""
        raise EvalError(f"step press: the driver {type(self).__name__} has no keys: leave the step out")

    def type(self, text: str) -> None:
        """Type a text."""
        raise EvalError(f"step type: the driver {type(self).__name__} takes no typed text: leave the step out")

    @abstractmethod
    async def finish(self) -> None:
        """Hang up once the server has all; fill what is left of the record."""

    @abstractmethod
    async def close(self) -> None:
        """Release everything; called always, after `finish` or without it."""


class Driver(ABC):
    """Calls the server at one endpoint. Raises `EvalError` for an endpoint that it cannot use."""

    name: ClassVar[str]
    link: ClassVar[type[Link]] = UdpLink

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    @property
    def address(self) -> Address:
        """Where links lead: host and port of the URL."""
        parts = urlsplit(self.endpoint.url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise EvalError(f"--url {self.endpoint.url!r}: give https://, wss://, http:// or ws:// and a host")
        return parts.hostname, parts.port or _PORTS[parts.scheme]

    @abstractmethod
    def line(self, dialling: Dialling) -> Line:
        """Return a call that is not open yet."""


def load_driver(name: str) -> type[Driver]:
    """Return the driver of this name; raises `EvalError` that lists those that are installed."""
    found = {each.name: each for each in entry_points(group="voice_eval.drivers")}
    if name not in found:
        raise EvalError(
            f"--driver {name!r} is unknown: use {', '.join(sorted(found))}, or install the package that has it"
        )
    try:
        driver = found[name].load()
    except ImportError as error:
        raise EvalError(f"--driver {name}: {error}: pip install 'voice-eval[{name}]'") from None
    if not (isinstance(driver, type) and issubclass(driver, Driver)):
        raise EvalError(f"--driver {name}: {found[name].value} is no subclass of voice_eval.drivers.base.Driver")
    return driver

"""What the calls of one bridge share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from voice_gateway.agent.apology import Apology
from voice_gateway.agent.base import AudioFormat
from voice_gateway.agents.bridges.bridge.call.functions import Functions
from voice_gateway.agents.bridges.bridge.upstream import UpstreamTimes
from voice_gateway.agents.bridges.bridge.vendor import Target, Vendor


@dataclass(frozen=True, slots=True)
class BridgeTimes:
    """When a bridge stops waiting.

    A session is replaced at a quiet moment from `margin_s` before its end, at the latest `forced_s` before. An answer
    waits `words_s` for the words of its turn.
    """

    upstream: UpstreamTimes = field(default_factory=UpstreamTimes)
    margin_s: float = 300.0
    forced_s: float = 20.0
    words_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Bridge:
    """The vendor with its key, the tools, what is said without it, and the count of its malformed messages."""

    vendor: Vendor
    target: Target
    functions: Functions
    apology: Apology
    greeting: str = ""
    asks_again: str = ""
    times: BridgeTimes = field(default_factory=BridgeTimes)
    malformed: Counter[str] = field(default_factory=Counter)

    @property
    def input_bytes_per_ms(self) -> float:
        """Of the caller's audio."""
        return self.vendor.input_rate_hz * self._sample_bytes / 1000

    @property
    def output_bytes_per_ms(self) -> float:
        """Of what the vendor says."""
        return self.vendor.output_rate_hz * self._sample_bytes / 1000

    def silence(self, duration_ms: int) -> bytes:
        """So much silence of the caller."""
        sample = b"\xff" if self.vendor.audio_format is AudioFormat.PCMU else b"\0\0"
        return sample * round(duration_ms * self.input_bytes_per_ms / len(sample))

    @property
    def _sample_bytes(self) -> int:
        return 1 if self.vendor.audio_format is AudioFormat.PCMU else 2

"""How far ahead of playback the worker sends. Sans-IO.

Speech is made faster than it is spoken. What is sent ahead survives an outage of the network; what an interruption
throws away was sent in vain.
"""

from __future__ import annotations

from dataclasses import dataclass

from voice_gateway.session.core.speech.utterances.utterances import Utterances


@dataclass(frozen=True, slots=True)
class Lead:
    """The lead that is aimed at, by our estimate of what was played, and the one that is never exceeded, by report.

    Once `target_s` were sent, an outage that is shorter interrupts no playback. `cap_s` leaves room for late reports.
    """

    target_s: float = 20.0
    cap_s: float = 30.0


class Pacer:
    """Says how much of `utterances` may be sent over the connection there is, within `lead`; keeps no position."""

    def __init__(self, lead: Lead, utterances: Utterances) -> None:
        self._lead = lead
        self._utterances = utterances

    def sendable_s(self, now: float) -> float:
        """How much may be sent now; not above 0 where nothing may."""
        buffered_s = self._utterances.playback.buffered_s(now)
        return min(self._lead.target_s - buffered_s, self._lead.cap_s - self._utterances.lead_s)

    def delay_s(self, wanted_s: float, now: float) -> float | None:
        """How long to wait until `wanted_s` may be sent; `None` where only a report can tell."""
        buffered_s = self._utterances.playback.buffered_s(now)
        if not self._utterances.playback.is_playing or self._utterances.lead_s + wanted_s > self._lead.cap_s:
            return None
        return max(0.0, buffered_s + wanted_s - self._lead.target_s)

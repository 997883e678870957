"""How far ahead of the caller's ear the worker sends, sans-IO.

Speech is made faster than it is spoken. What is sent ahead survives an outage of the network; what an interruption
throws away was sent in vain.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lead:
    """The lead that is aimed at, by our estimate of what was played, and the one that is never exceeded, by report.

    Once `target_s` were sent, no outage is heard that is shorter. `cap_s` leaves room for reports that come late.
    """

    target_s: float = 20.0
    cap_s: float = 30.0


class Pacer:
    """One caller's playback buffer as seen from here: tell it what is sent and what the caller reports as played."""

    def __init__(self, lead: Lead) -> None:
        self._lead = lead
        self._unplayed: dict[int, _Sent] = {}
        self._estimate_s = 0.0
        self._estimated_at: float | None = None

    @property
    def lead_s(self) -> float:
        """How much was sent and not reported as played."""
        return sum(sent.sent_s - sent.played_s for sent in self._unplayed.values())

    def allowance_s(self, now: float) -> float:
        """How much may be sent now; not above 0 where nothing may."""
        self._play_on(now)
        return min(self._lead.target_s - self._estimate_s, self._lead.cap_s - self.lead_s)

    def delay_s(self, wanted_s: float, now: float) -> float | None:
        """How long to wait until `wanted_s` may be sent; `None` where only a report can tell."""
        self._play_on(now)
        if self._estimated_at is None or self.lead_s + wanted_s > self._lead.cap_s:
            return None
        return max(0.0, self._estimate_s + wanted_s - self._lead.target_s)

    def sent(self, utterance_id: int, duration_s: float, now: float) -> None:
        """Speech of this utterance is on its way."""
        self._play_on(now)
        self._unplayed.setdefault(utterance_id, _Sent()).sent_s += duration_s
        self._estimate_s += duration_s

    def played(self, utterance_id: int, position_s: float, is_complete: bool, now: float) -> None:
        """The caller reports; what it cannot have played, as it was never sent, does not count."""
        sent = self._unplayed.get(utterance_id)
        if sent is None:
            return
        sent.played_s = sent.sent_s if is_complete else max(sent.played_s, min(position_s, sent.sent_s))
        self._unplayed = {each: of for each, of in self._unplayed.items() if each >= utterance_id}
        self._settle(now)

    def dropped(self, utterance_id: int, now: float) -> None:
        """The caller throws this utterance and all before away."""
        self._unplayed = {each: of for each, of in self._unplayed.items() if each > utterance_id}
        self._settle(now)

    def _settle(self, now: float) -> None:
        """Nobody can tell when a loudspeaker that has nothing to play will begin again, before it reports."""
        self._estimate_s = self.lead_s
        self._estimated_at = now if self._estimate_s > 0 else None

    def _play_on(self, now: float) -> None:
        if self._estimated_at is not None:
            self._estimate_s = max(0.0, self._estimate_s - (now - self._estimated_at))
            self._estimated_at = now


@dataclass(slots=True)
class _Sent:
    sent_s: float = 0.0
    played_s: float = 0.0

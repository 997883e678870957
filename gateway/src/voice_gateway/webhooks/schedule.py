"""Which notification is sent next, and when it is tried again; time and randomness are arguments."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import Final

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 300.0


@dataclass(slots=True, order=True)
class Notification:
    """A body for one URL, due at `due_at`; `attempts` were made."""

    due_at: float
    number: int
    notification_id: str = field(compare=False)
    url: str = field(compare=False)
    body: bytes = field(compare=False)
    attempts: int = field(default=0, compare=False)


@dataclass(slots=True)
class WebhookCounters:
    """What became of notifications; read by metrics."""

    delivered: int = 0
    retried: int = 0
    given_up: int = 0
    dropped: int = 0


class Schedule:
    """Notifications that wait, `most` of them; the oldest gives way to a new one. `rng` spreads the repetitions."""

    def __init__(self, most: int, attempts: int, rng: random.Random) -> None:
        self.counters = WebhookCounters()
        self._most = most
        self._attempts = attempts
        self._rng = rng
        self._waiting: list[Notification] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def due_at(self) -> float | None:
        """When the next one is due, `None` where none waits."""
        return self._waiting[0].due_at if self._waiting else None

    def add(self, notification_id: str, url: str, body: bytes, now: float) -> None:
        """Have a notification sent now."""
        if len(self._waiting) >= self._most:
            self._waiting.remove(min(self._waiting, key=lambda each: each.number))
            heapq.heapify(self._waiting)
            self.counters.dropped += 1
        self._count += 1
        heapq.heappush(self._waiting, Notification(now, self._count, notification_id, url, body))

    def take(self, now: float) -> Notification | None:
        """Return one that is due, which does not wait any more."""
        return heapq.heappop(self._waiting) if self._waiting and self._waiting[0].due_at <= now else None

    def delivered(self) -> None:
        self.counters.delivered += 1

    def failed(self, notification: Notification, now: float, *, retry_after_s: float | None = None) -> None:
        """An attempt failed: the next one comes after twice the time, or as late as the receiver asks."""
        notification.attempts += 1
        if notification.attempts >= self._attempts:
            self.counters.given_up += 1
            return
        delay_s = min(FIRST_DELAY_S * 2 ** (notification.attempts - 1), LONGEST_DELAY_S)
        delay_s = max(delay_s * self._rng.uniform(0.8, 1.2), min(retry_after_s or 0.0, LONGEST_DELAY_S))
        notification.due_at = now + delay_s
        self.counters.retried += 1
        heapq.heappush(self._waiting, notification)

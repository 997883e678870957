"""How many repeats of a frame the path carries, by the queue and the losses that they cause. Sans-IO."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

FIRST_LIMIT: Final = 1
MOST_REPEATS: Final = 3
PROOF_S: Final = 0.3
"""One repeat more is allowed once datagrams sent so long after the last change were reported, and there is no queue."""
FIRST_BACKOFF_S: Final = 2.0
LONGEST_BACKOFF_S: Final = 64.0
CARRIED_AFTER_S: Final = 2.0
"""A number that did well for so long counts as carried; above one that failed, the next is tried only then."""
FORGIVEN_AFTER_S: Final = 10.0

QUEUE_S: Final = 0.060
DRAINED_S: Final = 0.030
STABLE_S: Final = 2.0
"""What delay is left so long after it last fell, without a repeat, is the path's own."""
CONSTANT_S: Final = 0.3
"""Delay that stays so long after the repeats ended is not theirs: their queue drains."""
_CONSTANT_WITHIN_S: Final = 0.020
_FALL_S: Final = 0.010
_RECENT_S: Final = 0.120
_RECENT_SAMPLES: Final = 4

HIGH_LOSS: Final = 0.15
LESS_LOSS: Final = 0.15
"""Repeats without which so much less is lost are too many."""
TRIAL_INTERVAL_S: Final = 30.0
"""The pause after a trial that found the repeats innocent, unless the loss grows; twice that after the next one."""
_SPAN: Final = 12
_SPANS: Final = 8
_TRIAL_SPANS: Final = 4


class QueueingDelay:
    """Whether a queue stands: all recent round trips are longer than the shortest one, as in CoDel (RFC 8289).

    Its observer repeats nothing while one stands.
    """

    def __init__(self) -> None:
        self.is_standing = False
        self.is_empty = True
        """One of the recent round trips was about as short as any."""
        self.is_path_longer = False
        """Of the last queue that stood: its delay did not change without repeats, as that of a longer path."""
        self._shortest_s = math.inf
        self._recent: deque[tuple[float, float]] = deque()
        self._lowest_s = math.inf
        self._lowest_at = 0.0
        self._stands_since = 0.0
        self._without_repeats: tuple[float, float] | None = None

    def observe(self, rtt_s: float, now: float) -> None:
        """Take the round trip of a datagram."""
        self._shortest_s = min(self._shortest_s, rtt_s)
        self._recent.append((now, rtt_s))
        while len(self._recent) > _RECENT_SAMPLES and self._recent[1][0] <= now - _RECENT_S:
            self._recent.popleft()
        if len(self._recent) < _RECENT_SAMPLES or self._recent[0][0] > now - _RECENT_S:
            return
        recent_s = min(each for _, each in self._recent)
        self.is_empty = recent_s <= self._shortest_s + DRAINED_S
        if not self.is_standing:
            self.is_standing = recent_s > self._shortest_s + QUEUE_S
            self.is_path_longer = False
            self._lowest_s, self._lowest_at = recent_s, now
            self._stands_since, self._without_repeats = now, None
        elif self.is_empty:
            self.is_standing = False
        elif self._is_constant(recent_s, now):
            self.is_path_longer = True
            self.is_standing, self._shortest_s = False, recent_s
        elif recent_s < self._lowest_s - _FALL_S:
            self._lowest_s, self._lowest_at = recent_s, now
        elif now >= self._lowest_at + STABLE_S:
            self.is_standing, self._shortest_s = False, recent_s

    def _is_constant(self, recent_s: float, now: float) -> bool:
        """Whether it is, as soon as that can be known; once for each queue."""
        if self._without_repeats is None:
            at, rtt_s = self._recent[0]
            if at - rtt_s >= self._stands_since:
                self._without_repeats = now, recent_s
            return False
        since, first_s = self._without_repeats
        if now < since + CONSTANT_S:
            return False
        self._without_repeats = math.inf, first_s
        return abs(recent_s - first_s) <= _CONSTANT_WITHIN_S


class SustainedLoss:
    """The loss of the last 96 datagrams, in spans of 12, so that a burst or an outage does not count as high loss."""

    def __init__(self, sent: int = 0, received: int = 0) -> None:
        self._spans: deque[float] = deque(maxlen=_SPANS)
        self._sent, self._received = sent, received

    @property
    def spans(self) -> int:
        """How many there were lately."""
        return len(self._spans)

    @property
    def share(self) -> float:
        """Of what was sent in these spans."""
        return sum(self._spans) / len(self._spans)

    @property
    def is_high(self) -> bool:
        """Whether it is, even without the worst span."""
        return len(self._spans) == _SPANS and sum(self._spans) - max(self._spans) > HIGH_LOSS * (_SPANS - 1)

    def observe(self, sent: int, received: int) -> None:
        """Of the first `sent` datagrams, `received` have arrived."""
        count = sent - self._sent
        if count >= _SPAN:
            self._spans.append(max(0.0, 1 - (received - self._received) / count))
            self._sent, self._received = sent, received

    def restart(self, sent: int, received: int) -> None:
        """Forget the loss before these."""
        self._spans.clear()
        self._sent, self._received = sent, received


@dataclass(slots=True)
class _Trial:
    """No repeats for some time, to see whether the loss is their doing."""

    repeats: int
    loss: float
    began_at: float
    is_counting: bool = False


@dataclass(frozen=True, slots=True)
class _Held:
    """The repeats that were allowed, and those that were sent, when a queue began to stand."""

    repeats: int
    used: int


class RepeatLimit:
    """`repeats` is 0 while a queue stands, and rises by one at a time while more are wanted and none stands.

    A number that brought the queue, or most of the loss, is tried again after 2 s, and after twice that each time it
    fails. A path begins with one repeat; it is in use `since` then, `None` for the first report.
    """

    def __init__(self, loss: SustainedLoss | None = None, since: float | None = None) -> None:
        self.repeats = FIRST_LIMIT
        self._queue = QueueingDelay()
        self._loss = loss or SustainedLoss()
        self._held: _Held | None = None
        self._trusts_from = -math.inf
        self._trial: _Trial | None = None
        self._next_trial_at = -math.inf
        self._innocent_loss = 1.0
        self._trial_interval_s = TRIAL_INTERVAL_S
        self._changed_at = since
        self._too_many = self._failed = MOST_REPEATS + 1
        self._carried = 0
        self._retry_at = -math.inf
        self._backoff_s = FIRST_BACKOFF_S / 2

    @property
    def has_headroom(self) -> bool:
        """Datagrams were reported, and nothing shows that the path carries no more than the frames themselves."""
        return self._changed_at is not None and self.repeats > 0

    def observe(self, sent: int, received: int, rtt_s: float, wanted: int, now: float) -> None:
        """Of the first `sent` datagrams, `received` have arrived, the last one after `rtt_s` there and back.

        `wanted` repeats are sent as far as they are allowed.
        """
        sent_at = now - rtt_s
        if self._changed_at is None:
            self._changed_at = sent_at
        proven_s = sent_at - self._changed_at
        self._queue.observe(rtt_s, now)
        self._loss.observe(sent, received)
        used = min(wanted, self.repeats)
        if self._queue.is_standing:
            self._trial = None
            self._held = self._held or _Held(self.repeats, used)  # nothing is repeated while a queue stands
            self._set(0, now)
        elif self._held is not None:
            self._go_on_after(self._held, now)
        elif self._trial is not None:
            self._go_on_with(self._trial, sent, received, sent_at, now)
        elif used and self._loss.is_high and self._is_trial_due(now):
            self._trial = _Trial(used, self._loss.share, now)
            self._set(0, now)
        else:
            self._rise(wanted, proven_s, now)

    def _go_on_after(self, held: _Held, now: float) -> None:
        """Take the repeats for the cause of the queue that is gone, unless the path is longer; once in 10 s."""
        self._held = None
        if self._queue.is_path_longer and now >= self._trusts_from:
            self._trusts_from = now + FORGIVEN_AFTER_S
            self._set(min(held.repeats, FIRST_LIMIT), now)
            return
        if held.used:
            self._too_many_were(held.used)
        self._retry_at = now + self._backoff_s

    def _rise(self, wanted: int, proven_s: float, now: float) -> None:
        """Allow one more, where those allowed now were sent for `proven_s` without harm."""
        if wanted >= self.repeats > self._carried and proven_s >= CARRIED_AFTER_S:
            self._carried = self.repeats
            self._too_many = max(self._too_many, self._carried + 1)
        if self._carried >= self._failed and proven_s >= FORGIVEN_AFTER_S:
            self._too_many = self._failed = MOST_REPEATS + 1
            self._backoff_s = FIRST_BACKOFF_S / 2
        may_retry = self.repeats < self._too_many and now >= self._retry_at
        is_allowed = self.repeats + 1 < self._too_many or may_retry
        if wanted > self.repeats and is_allowed and proven_s >= PROOF_S and self._queue.is_empty:
            self._set(self.repeats + 1, now)

    def _is_trial_due(self, now: float) -> bool:
        return now >= self._next_trial_at or self._loss.share > self._innocent_loss + LESS_LOSS

    def _go_on_with(self, trial: _Trial, sent: int, received: int, sent_at: float, now: float) -> None:
        if not trial.is_counting:
            if sent_at >= trial.began_at:
                trial.is_counting = True
                self._loss.restart(sent, received)
            return
        if self._loss.spans < _TRIAL_SPANS:
            return
        self._trial = None
        if self._loss.share < trial.loss - LESS_LOSS:
            self._trial_interval_s = TRIAL_INTERVAL_S
            self._too_many_were(trial.repeats)
            self._retry_at = now + self._backoff_s
            self._set(0, now)
        else:
            self._innocent_loss = trial.loss
            self._next_trial_at = now + self._trial_interval_s
            self._trial_interval_s *= 2
            self._set(trial.repeats, now)

    def _too_many_were(self, repeats: int) -> None:
        if repeats <= self._carried:
            self._carried = 0
        self._failed, self._too_many = repeats, max((repeats + 1) // 2, self._carried + 1)
        self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)

    def _set(self, repeats: int, now: float) -> None:
        self.repeats, self._changed_at = repeats, now

"""Which worker runs in which slot: start, restart with back-off, replacement one by one, stop. Sans-IO.

A *slot* is a socket of the group and a server ID; there is one more of them than workers. A *place* is one of the
workers that should run, with its core. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

FIRST_BACKOFF_S: Final = 0.1
LAST_BACKOFF_S: Final = 10.0
STEADY_S: Final = 10.0
"""A worker that lived so long starts the back-off anew."""
SETTLE_S: Final = 0.2
"""Between steering new clients away from a worker and asking it to drain: those in its queue get their handshake."""
START_TIMEOUT_S: Final = 60.0
SILENCE_S: Final = 10.0
"""A worker whose event loop has not turned for so long hangs, and is killed: its calls go on at others."""
DRAIN_MARGIN_S: Final = 5.0


class SlotState(Enum):
    """What is known of the process in a slot."""

    EMPTY = auto()
    """None runs, and none is due."""
    WAITING = auto()
    """It ended, and is started again after a delay."""
    STARTING = auto()
    SERVING = auto()
    RETIRING = auto()
    """Its replacement serves; new clients go elsewhere already."""
    DRAINING = auto()
    """Asked to end: its calls go on elsewhere."""


_RUNNING: Final = {SlotState.STARTING, SlotState.SERVING, SlotState.RETIRING, SlotState.DRAINING}
_HAS_CALLS: Final = {SlotState.SERVING, SlotState.RETIRING, SlotState.DRAINING}


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker in this slot, on the core of this place."""

    slot: int
    place: int


@dataclass(frozen=True, slots=True)
class DrainWorker:
    """Ask the worker to let its calls go on elsewhere and end."""

    slot: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End it at once; `cause` is for the log."""

    slot: int
    cause: str


@dataclass(frozen=True, slots=True)
class Steer:
    """Have the kernel deal datagrams out anew."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """All workers were replaced."""


@dataclass(frozen=True, slots=True)
class ReplacementFailed:
    """A replacement ended before it served: the others stay as they are."""

    slot: int


@dataclass(frozen=True, slots=True)
class NeverServed:
    """A worker of the first start ended before it served: there is no use in trying again."""

    slot: int


Effect = StartWorker | DrainWorker | Kill | Steer | Replaced | ReplacementFailed | NeverServed


@dataclass(slots=True)
class _Slot:
    state: SlotState = SlotState.EMPTY
    place: int = 0
    started_at: float = 0.0
    due: float | None = None
    """When something has to happen to it."""


@dataclass(slots=True)
class _Replacement:
    place: int
    former: int | None
    latter: int


class Fleet:
    """Inputs are what happened and `now`; each returns what is to be done. `deadline` is when `expire` is due.

    `drain_timeout_s` is how long a worker may take to drain before it is killed.
    """

    def __init__(self, workers: int, drain_timeout_s: float) -> None:
        self.drain_timeout_s = drain_timeout_s
        self.restarts = 0
        self._slots = [_Slot() for _ in range(workers + 1)]
        self._backoff_s = [FIRST_BACKOFF_S] * workers
        self._workers = workers
        self._to_replace: list[int] = []
        self._replacement: _Replacement | None = None
        self._is_stopping = False
        self._has_served = False

    @property
    def states(self) -> tuple[tuple[SlotState, int], ...]:
        """State and place of each slot."""
        return tuple((each.state, each.place) for each in self._slots)

    @property
    def is_serving(self) -> bool:
        """Whether each place has a worker that takes calls."""
        return len(self.accepting) == self._workers

    @property
    def is_replacing(self) -> bool:
        return self._replacement is not None or bool(self._to_replace)

    @property
    def is_over(self) -> bool:
        """Whether no process is left."""
        return not any(each.state in _RUNNING for each in self._slots)

    @property
    def accepting(self) -> tuple[int, ...]:
        """Slots whose workers take new clients."""
        return self._in(SlotState.SERVING)

    @property
    def deadline(self) -> float | None:
        return min((each.due for each in self._slots if each.due is not None), default=None)

    def destinations(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the slot for datagrams of each slot's server ID, and the slots for those of new clients.

        What belongs to a worker that is gone goes to another one, which answers that the connection is lost: its
        client resumes at once. Where no worker serves, datagrams wait in the queues of those that start.
        """
        accepting = self.accepting
        if not accepting:
            due = self._in(SlotState.STARTING, SlotState.WAITING) or tuple(range(self._workers))
            return tuple(range(len(self._slots))), due
        return (
            tuple(
                slot if each.state in _HAS_CALLS else accepting[slot % len(accepting)]
                for slot, each in enumerate(self._slots)
            ),
            accepting,
        )

    def begin(self, now: float) -> Sequence[Effect]:
        """Start a worker for each place."""
        return [Steer(), *(self._start(place, place, now) for place in range(self._workers))]

    def adopt(self, running: Iterable[tuple[int, int, SlotState]], now: float) -> Sequence[Effect]:
        """Take over what a former supervisor left, as slot, place and state, and start what is missing."""
        for slot, place, state in running:
            self._slots[slot] = _Slot(state, place, now)
            self._set_due(slot, now)
        self._has_served = True
        places = {each.place for each in self._slots if each.state in (SlotState.STARTING, SlotState.SERVING)}
        missing = [place for place in range(self._workers) if place not in places]
        free = self._in(SlotState.EMPTY)
        return [*(self._start(slot, place, now) for slot, place in zip(free, missing, strict=False)), Steer()]

    def served(self, slot: int, now: float) -> Sequence[Effect]:
        """The worker takes calls."""
        found = self._slots[slot]
        if found.state is not SlotState.STARTING:
            return []
        self._change(slot, SlotState.SERVING, now)
        self._has_served = self._has_served or self.is_serving
        replacement = self._replacement
        if replacement is not None and slot == replacement.latter:
            if replacement.former is None:
                return [*self._end_replacement(now), Steer()]
            self._change(replacement.former, SlotState.RETIRING, now)
        return [Steer(), *self._replace_next(now)]

    def alive(self, slot: int, now: float) -> None:
        """The worker's event loop turns."""
        if self._slots[slot].state is SlotState.SERVING:
            self._set_due(slot, now)

    def ended(self, slot: int, now: float) -> Sequence[Effect]:
        """The process is gone."""
        found = self._slots[slot]
        lived_s = now - found.started_at
        was, replacement = found.state, self._replacement
        if self._is_stopping:
            self._change(slot, SlotState.EMPTY, now)
            return []
        if replacement is not None and slot == replacement.latter and was is SlotState.STARTING:
            self._to_replace = []
            return [ReplacementFailed(slot), *self._replacement_lost(replacement, slot, now)]
        if replacement is not None and slot == replacement.former:
            self._change(slot, SlotState.EMPTY, now)
            if was is SlotState.SERVING:  # before its replacement was there, which will be
                replacement.former = None
                return [Steer()]
            return [*self._end_replacement(now), Steer()]
        if was is SlotState.STARTING and not self._has_served:
            self._change(slot, SlotState.EMPTY, now)
            return [NeverServed(slot)]
        self._wait(slot, lived_s, now)
        return [Steer(), *self._replace_next(now)]

    def replace_all(self, now: float) -> Sequence[Effect]:
        """Replace each worker, one after the other; those that are due already are replaced once more.

        One that starts just now may have read the former settings: it is replaced once it serves.
        """
        self._to_replace = list(range(self._workers))
        return self._replace_next(now)

    def stop(self, now: float) -> Sequence[Effect]:
        """Drain all; the second time kill them."""
        if self._is_stopping:
            return [Kill(slot, "stopped twice") for slot, each in enumerate(self._slots) if each.state in _RUNNING]
        self._is_stopping, self._to_replace, self._replacement = True, [], None
        effects: list[Effect] = []
        for slot, each in enumerate(self._slots):
            if each.state in _RUNNING:
                self._change(slot, SlotState.DRAINING, now)
                effects.append(DrainWorker(slot))
            else:
                self._change(slot, SlotState.EMPTY, now)
        return effects

    def expire(self, now: float) -> Sequence[Effect]:
        """Do what is due."""
        effects: list[Effect] = []
        for slot, each in enumerate(self._slots):
            if each.due is None or each.due > now:
                continue
            match each.state:
                case SlotState.WAITING:
                    effects.append(self._start(slot, each.place, now))
                    self.restarts += 1
                case SlotState.RETIRING:
                    self._change(slot, SlotState.DRAINING, now)
                    effects.append(DrainWorker(slot))
                case SlotState.STARTING:
                    effects.append(Kill(slot, f"it did not serve within {START_TIMEOUT_S:g} s"))
                    each.due = None
                case SlotState.SERVING:
                    effects.append(Kill(slot, f"its event loop has not turned for {SILENCE_S:g} s"))
                    each.due = None
                case SlotState.DRAINING:
                    effects.append(Kill(slot, "it did not end in time"))
                    each.due = None
        return effects

    def _replace_next(self, now: float) -> Sequence[Effect]:
        if self._replacement is not None or not self._to_replace:
            return []
        free = self._in(SlotState.EMPTY)
        if not free:
            return []
        place = self._to_replace[0]
        running = {self._slots[slot].place: slot for slot in self._in(SlotState.STARTING, SlotState.SERVING)}
        former = running.get(place)
        if former is not None and self._slots[former].state is SlotState.STARTING:
            return []
        self._to_replace.pop(0)
        if former is None:  # one that starts later has the new settings
            return self._replace_next(now) if self._to_replace else [Replaced()]
        self._replacement = _Replacement(place, former, free[0])
        return [self._start(free[0], place, now)]

    def _end_replacement(self, now: float) -> Sequence[Effect]:
        self._replacement = None
        return self._replace_next(now) if self._to_replace else [Replaced()]

    def _replacement_lost(self, replacement: _Replacement, slot: int, now: float) -> Sequence[Effect]:
        self._replacement = None
        if replacement.former is None:
            self._wait(slot, 0.0, now)
        else:
            self._change(slot, SlotState.EMPTY, now)
        return [Steer()]

    def _wait(self, slot: int, lived_s: float, now: float) -> None:
        place = self._slots[slot].place
        if lived_s >= STEADY_S:
            self._backoff_s[place] = FIRST_BACKOFF_S
        self._change(slot, SlotState.WAITING, now)
        self._slots[slot].due = now + self._backoff_s[place]
        self._backoff_s[place] = min(2 * self._backoff_s[place], LAST_BACKOFF_S)

    def _start(self, slot: int, place: int, now: float) -> StartWorker:
        self._slots[slot] = _Slot(SlotState.STARTING, place, now)
        self._set_due(slot, now)
        return StartWorker(slot, place)

    def _change(self, slot: int, state: SlotState, now: float) -> None:
        self._slots[slot].state = state
        self._set_due(slot, now)

    def _set_due(self, slot: int, now: float) -> None:
        after_s = {
            SlotState.STARTING: START_TIMEOUT_S,
            SlotState.SERVING: SILENCE_S,
            SlotState.RETIRING: SETTLE_S,
            SlotState.DRAINING: self.drain_timeout_s + DRAIN_MARGIN_S,
        }.get(self._slots[slot].state)
        self._slots[slot].due = None if after_s is None else now + after_s

    def _in(self, *states: SlotState) -> tuple[int, ...]:
        return tuple(slot for slot, each in enumerate(self._slots) if each.state in states)

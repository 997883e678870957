"""Work that clients make on an event loop: a little in each turn, shared fairly among their networks. Sans-IO."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Queue(Generic[T]):
    items: deque[T] = field(default_factory=deque)
    size: int = 0


class FairTurns(Generic[T]):
    """Gives each item to `handle`, at most `per_turn` of them in one turn of the event loop.

    An item is handled at once where the turn has room and none waits. Those that wait are handled one of each key after
    the other, and in order for each key; a key is a client's network. Beyond `max_bytes` of waiting items, as `size_of`
    says, the newest of the key that has most goes to `on_drop`. `call_soon` is the event loop's.
    """

    def __init__(
        self,
        handle: Callable[[T], None],
        per_turn: int,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        size_of: Callable[[T], int] = lambda item: 0,
        max_bytes: float = math.inf,
        on_drop: Callable[[T], None] = lambda item: None,
    ) -> None:
        self._handle = handle
        self._per_turn = per_turn
        self._call_soon = call_soon
        self._size_of = size_of
        self._max_bytes = max_bytes
        self._on_drop = on_drop
        self._queues: dict[Hashable, _Queue[T]] = {}  # the key whose turn is next first
        self._bytes = 0
        self._count = 0
        self._left = per_turn
        self._is_scheduled = False

    def __len__(self) -> int:
        return self._count

    def submit(self, key: Hashable, item: T) -> None:
        """Handle the item, in this turn of the event loop or a later one."""
        self._schedule()
        if self._left > 0 and not self._queues:
            self._left -= 1
            self._handle(item)
            return
        queue = self._queues.setdefault(key, _Queue())
        queue.items.append(item)
        self._count += 1
        self.grow(key, self._size_of(item))

    def grow(self, key: Hashable, size: int) -> None:
        """Count that an item of the key, which waits, became larger by `size`."""
        self._queues[key].size += size
        self._bytes += size
        while self._bytes > self._max_bytes:
            largest = max(self._queues, key=lambda each: self._queues[each].size)
            self._on_drop(self._take(largest, self._queues[largest].items.pop))

    def clear(self) -> None:
        """Forget what waits."""
        self._queues.clear()
        self._bytes = self._count = 0

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        self._left = self._per_turn
        if self._queues:
            self._schedule()  # first, so that an item that raises holds up no other
        while self._queues and self._left > 0:
            self._left -= 1
            key = next(iter(self._queues))
            item = self._take(key, self._queues[key].items.popleft)
            if key in self._queues:
                self._queues[key] = self._queues.pop(key)
            self._handle(item)

    def _take(self, key: Hashable, pop: Callable[[], T]) -> T:
        queue, item = self._queues[key], pop()
        size = self._size_of(item)
        queue.size -= size
        self._count -= 1
        self._bytes -= size
        if not queue.items:
            del self._queues[key]
        return item

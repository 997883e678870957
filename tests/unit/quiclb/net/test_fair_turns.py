"""Work of many clients on one event loop: so much in a turn, and one network's burst keeps no other one waiting."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quiclb.net.fair_turns import FairTurns


class Loop:
    """An event loop's `call_soon`: what is due runs in the next `turn`."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def turn(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


class Bench:
    """Items are names; `sizes` says how large each is, 1 by default."""

    def __init__(self, per_turn: int, max_bytes: int = 1_000) -> None:
        self.loop = Loop()
        self.sizes: dict[str, int] = {}
        self.handled: list[str] = []
        self.dropped: list[str] = []
        self.turns = FairTurns(
            self.handled.append,
            per_turn,
            call_soon=self.loop.call_soon,
            size_of=lambda item: self.sizes.get(item, 1),
            max_bytes=max_bytes,
            on_drop=self.dropped.append,
        )


def test_so_many_items_are_handled_in_a_turn_and_the_first_at_once() -> None:
    bench = Bench(per_turn=2)
    for number in range(5):
        bench.turns.submit("a", str(number))
    assert bench.handled == ["0", "1"]
    bench.loop.turn()
    assert bench.handled == ["0", "1", "2", "3"]
    bench.loop.turn()
    assert bench.handled == ["0", "1", "2", "3", "4"]
    assert len(bench.turns) == 0


def test_an_item_that_comes_while_others_wait_passes_none_of_its_key() -> None:
    bench = Bench(per_turn=1)
    for item in ("a1", "a2", "a3"):
        bench.turns.submit("a", item)
    bench.loop.turn()
    bench.turns.submit("a", "a4")
    for _ in range(3):
        bench.loop.turn()
    assert bench.handled == ["a1", "a2", "a3", "a4"]


def test_a_newcomer_waits_one_turn_behind_a_burst_of_another_network() -> None:
    bench = Bench(per_turn=1)
    for number in range(50):
        bench.turns.submit("burst", f"burst {number}")
    bench.turns.submit("newcomer", "newcomer")
    bench.loop.turn()
    bench.loop.turn()
    assert bench.handled == ["burst 0", "burst 1", "newcomer"]


def test_networks_take_turns() -> None:
    bench = Bench(per_turn=1)
    for item in ("a1", "a2", "a3", "b1", "b2", "c1"):
        bench.turns.submit(item[0], item)
    while len(bench.turns):
        bench.loop.turn()
    assert bench.handled == ["a1", "a2", "b1", "c1", "a3", "b2"]


def test_beyond_the_bytes_the_network_with_most_loses_its_newest() -> None:
    bench = Bench(per_turn=1, max_bytes=100)
    bench.sizes = {"a0": 40, "a1": 30, "a2": 30, "b1": 30, "c1": 30}
    for item in ("a0", "a1", "a2", "b1", "c1"):  # a0 is handled at once, and counted no more
        bench.turns.submit(item[0], item)
    assert bench.dropped == ["a2"]
    while len(bench.turns):
        bench.loop.turn()
    assert bench.handled == ["a0", "a1", "b1", "c1"]


def test_an_item_that_grows_counts_by_its_new_size() -> None:
    bench = Bench(per_turn=1, max_bytes=100)
    for item in ("a0", "a1", "b1"):
        bench.turns.submit(item[0], item)
    bench.sizes["b1"] = 100
    bench.turns.grow("b", 99)
    assert bench.dropped == ["b1"]
    bench.sizes["a1"] = 100
    bench.turns.grow("a", 99)
    assert bench.dropped == ["b1"]


def test_an_idle_queue_asks_nothing_of_the_loop() -> None:
    bench = Bench(per_turn=1)
    bench.turns.submit("a", "a1")
    bench.loop.turn()
    assert not bench.loop.due


def test_an_item_that_raises_holds_up_no_other() -> None:
    loop, handled = Loop(), []

    def handle(item: str) -> None:
        if item == "bad":
            raise ZeroDivisionError
        handled.append(item)

    turns = FairTurns(handle, 1, call_soon=loop.call_soon)
    for item in ("good", "bad", "better"):
        turns.submit("a", item)
    with pytest.raises(ZeroDivisionError):
        loop.turn()
    loop.turn()
    assert handled == ["good", "better"]


def test_nothing_is_handled_after_clear() -> None:
    bench = Bench(per_turn=1)
    for item in ("a1", "a2"):
        bench.turns.submit("a", item)
    bench.turns.clear()
    bench.loop.turn()
    assert bench.handled == ["a1"]
    assert len(bench.turns) == 0

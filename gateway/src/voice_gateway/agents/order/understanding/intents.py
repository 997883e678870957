"""What a customer can mean, as the grammar tells the dialogue."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class Changes:
    """What is said about one drink; `None` is unsaid."""

    drink: str | None = None
    quantity: int | None = None
    size: str | None = None
    milk: str | None = None
    sugar_percent: int | None = None
    ice: str | None = None
    toppings: tuple[str, ...] = ()
    without_toppings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Which item is meant: the newest of this drink and size, or the one at this place (-1 is the last).

    Without any it is the latest.
    """

    drink: str | None = None
    place: int | None = None
    size: str | None = None


@dataclass(frozen=True, slots=True)
class Add:
    """One more line on the order; `changes.drink` is always there."""

    changes: Changes


@dataclass(frozen=True, slots=True)
class Change:
    """Another wish for an item that is already on the order."""

    changes: Changes
    target: Target = field(default_factory=Target)


@dataclass(frozen=True, slots=True)
class Remove:
    """An item is not wanted any more."""

    target: Target = field(default_factory=Target)


@dataclass(frozen=True, slots=True)
class OffMenu:
    """Something is asked for that the shop does not sell."""

    name: str


class Wish(Enum):
    """What needs no further words."""

    CLEAR = "clear"
    READ_BACK = "read back"
    TOTAL = "total"
    DONE = "done"
    CONFIRM = "confirm"
    YES = "yes"
    NO = "no"
    GREET = "greet"
    HELP = "help"


Intent = Add | Change | Remove | OffMenu | Wish

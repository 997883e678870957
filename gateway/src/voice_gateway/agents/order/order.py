"""An order: immutable lines with their prices, and the plain map that is saved and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import msgspec

from voice_gateway.agents.order.menu import Menu
from voice_gateway.agents.order.understanding.intents import Changes
from voice_gateway.errors import AgentError

MAX_QUANTITY: Final = 20
MAX_ITEMS: Final = 40


class Status(Enum):
    """Whether the customer has placed the order."""

    OPEN = "open"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class Item:
    """One line; `size` is `None` until the customer has been asked, `milk` for a drink without."""

    id: int
    quantity: int
    drink: str
    size: str | None
    milk: str | None
    sugar_percent: int
    ice: str
    toppings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """All lines, oldest first; `latest_id` is the one "it" means."""

    items: tuple[Item, ...] = ()
    status: Status = Status.OPEN
    latest_id: int | None = None

    def item(self, item_id: int | None) -> Item | None:
        """Return the line of this id."""
        return next((item for item in self.items if item.id == item_id), None)

    def add(self, changes: Changes, menu: Menu) -> Order:
        """Return the order with one more line; what `changes` leaves unsaid is as the menu says."""
        drink = next(drink for drink in menu.drink if drink.name == changes.drink)
        item = Item(
            id=max((item.id for item in self.items), default=0) + 1,
            quantity=1,
            drink=drink.name,
            size=menu.default_size,
            milk=drink.milk,
            sugar_percent=menu.default_sugar_percent,
            ice=menu.default_ice,
        )
        return replace(self, items=(*self.items, _changed(item, changes)), status=Status.OPEN, latest_id=item.id)

    def change(self, item_id: int, changes: Changes, menu: Menu) -> Order:
        """Return the order with one line as `changes` wants it."""
        milk_of = {drink.name: drink.milk for drink in menu.drink}
        items = []
        for item in self.items:
            if item.id == item_id:
                if changes.drink is not None and changes.drink != item.drink:
                    item = replace(item, milk=milk_of[changes.drink])
                item = _changed(item, changes)
            items.append(item)
        return replace(self, items=tuple(items), status=Status.OPEN, latest_id=item_id)

    def remove(self, item_id: int) -> Order:
        """Return the order without a line; the last that remains is then the latest."""
        items = tuple(item for item in self.items if item.id != item_id)
        return replace(self, items=items, status=Status.OPEN, latest_id=items[-1].id if items else None)

    def price(self, item: Item, menu: Menu) -> Decimal:
        """Return a line's price, quantity included."""
        extras = {("size", size.name): size.extra for size in menu.size}
        extras |= {("milk", milk.name): milk.extra for milk in menu.milk}
        extras |= {("topping", topping.name): topping.extra for topping in menu.topping}
        drink = next(drink for drink in menu.drink if drink.name == item.drink)
        chosen = [("size", item.size), *(("topping", topping) for topping in item.toppings)]
        if item.milk != drink.milk:
            chosen.append(("milk", item.milk))
        each = drink.price + sum((extras[key] for key in chosen if key in extras), Decimal(0))
        return each * item.quantity

    def total(self, menu: Menu) -> Decimal:
        """Return the sum of all lines."""
        return sum((self.price(item, menu) for item in self.items), Decimal("0.00"))

    def to_state(self, menu: Menu) -> dict[str, Any]:
        """Return the plain map that is saved with the session and shown to the customer."""
        return {
            "kind": "drink-order",
            "status": self.status.value,
            "currency": menu.currency,
            "items": [
                {
                    "id": item.id,
                    "quantity": item.quantity,
                    "drink": item.drink,
                    "size": item.size,
                    "milk": item.milk,
                    "sugar_percent": item.sugar_percent,
                    "ice": item.ice,
                    "toppings": list(item.toppings),
                    "price": f"{self.price(item, menu):.2f}",
                }
                for item in self.items
            ],
            "total": f"{self.total(menu):.2f}",
            **({"latest_id": self.latest_id} if self.items and self.latest_id != self.items[-1].id else {}),
        }


def order_from_state(state: Mapping[str, Any], menu: Menu) -> Order:
    """Read what `to_state` wrote; lines of drinks that the menu has lost are left out. Raises `AgentError`."""
    try:
        saved = msgspec.convert(state, _SavedOrder)
    except msgspec.ValidationError as error:
        raise AgentError(f"saved order: {error}") from error
    drinks = {drink.name for drink in menu.drink}
    items = tuple(item for item in saved.items if item.drink in drinks)
    ids = {item.id for item in items}
    latest_id = saved.latest_id if saved.latest_id in ids else items[-1].id if items else None
    return Order(items, saved.status, latest_id)


class _SavedOrder(msgspec.Struct):
    items: tuple[Item, ...]
    status: Status
    latest_id: int | None = None


def _changed(item: Item, changes: Changes) -> Item:
    toppings = tuple(dict.fromkeys((*item.toppings, *changes.toppings)))
    return replace(
        item,
        drink=item.drink if changes.drink is None else changes.drink,
        quantity=item.quantity if changes.quantity is None else min(changes.quantity, MAX_QUANTITY),
        size=item.size if changes.size is None else changes.size,
        milk=item.milk if changes.milk is None else changes.milk,
        sugar_percent=item.sugar_percent if changes.sugar_percent is None else changes.sugar_percent,
        ice=item.ice if changes.ice is None else changes.ice,
        toppings=tuple(topping for topping in toppings if topping not in changes.without_toppings),
    )

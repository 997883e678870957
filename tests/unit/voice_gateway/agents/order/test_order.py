"""Orders, their prices and the state that is saved."""

from __future__ import annotations

from decimal import Decimal

import pytest

from voice_gateway.agents.order.menu import default_menu
from voice_gateway.agents.order.order import MAX_QUANTITY, Order, order_from_state
from voice_gateway.agents.order.understanding.intents import Changes
from voice_gateway.errors import GatewayError

MENU = default_menu()
CALLERS = (
    Order()
    .add(Changes(drink="taro milk tea", size="large", milk="oat", sugar_percent=75), MENU)
    .add(Changes(drink="matcha latte"), MENU)
)


def test_the_callers_order_is_saved_in_the_documented_shape() -> None:
    assert CALLERS.to_state(MENU) == {
        "kind": "drink-order",
        "status": "open",
        "currency": "USD",
        "items": [
            {
                "id": 1,
                "quantity": 1,
                "drink": "taro milk tea",
                "size": "large",
                "milk": "oat",
                "sugar_percent": 75,
                "ice": "regular",
                "toppings": [],
                "price": "6.50",
            },
            {
                "id": 2,
                "quantity": 1,
                "drink": "matcha latte",
                "size": "medium",
                "milk": "whole",
                "sugar_percent": 100,
                "ice": "regular",
                "toppings": [],
                "price": "5.25",
            },
        ],
        "total": "11.75",
    }


def test_an_order_comes_back_from_its_state() -> None:
    assert order_from_state(CALLERS.to_state(MENU), MENU) == CALLERS


@pytest.mark.parametrize("state", [{}, {"items": 3, "status": "open"}, {"items": [], "status": "lost"}])
def test_a_state_that_is_no_order_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(GatewayError, match="saved order"):
        order_from_state(state, MENU)


def test_a_drink_gone_from_the_menu_is_left_out() -> None:
    state = CALLERS.to_state(MENU)
    state["items"][0]["drink"] = "pumpkin latte"
    assert [item.drink for item in order_from_state(state, MENU).items] == ["matcha latte"]


@pytest.mark.parametrize(
    ("changes", "price"),
    [
        (Changes(size="small"), "5.00"),
        (Changes(), "5.50"),
        (Changes(size="large", quantity=3), "18.00"),
        (Changes(milk="whole"), "5.50"),
        (Changes(milk="oat", toppings=("boba", "cheese foam")), "7.75"),
        (Changes(sugar_percent=0, ice="none"), "5.50"),
        (Changes(quantity=1_000), f"{Decimal('5.50') * MAX_QUANTITY}"),
    ],
)
def test_prices(changes: Changes, price: str) -> None:
    order = Order().add(Changes(drink="taro milk tea"), MENU).change(1, changes, MENU)
    assert order.price(order.items[0], MENU) == Decimal(price)


def test_another_drink_brings_its_own_milk() -> None:
    order = Order().add(Changes(drink="taro milk tea", milk="oat"), MENU)
    jasmine = order.change(1, Changes(drink="jasmine green tea"), MENU).items[0]
    assert (jasmine.drink, jasmine.milk) == ("jasmine green tea", None)


def test_toppings_are_added_once_and_taken_away() -> None:
    order = Order().add(Changes(drink="thai tea", toppings=("boba",)), MENU)
    order = order.change(1, Changes(toppings=("boba", "pudding")), MENU)
    assert order.items[0].toppings == ("boba", "pudding")
    assert order.change(1, Changes(without_toppings=("boba",)), MENU).items[0].toppings == ("pudding",)


def test_ids_are_not_used_again_while_a_later_one_lives() -> None:
    order = CALLERS.remove(1).add(Changes(drink="chai latte"), MENU)
    assert [item.id for item in order.items] == [2, 3]
    assert order.latest_id == 3
    assert order.remove(3).latest_id == 2
    assert order.remove(3).remove(2).latest_id is None

"""The menu file and what is wrong with it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from voice_gateway.agents.order.menu import MenuError, default_menu, parse_menu

SMALL = """
shop = "Corner"
currency = "EUR"
symbol = "€"
default_sugar_percent = 100
default_ice = "regular"
drink = [{ name = "green tea", price = "2.50" }]
size = [{ name = "small" }, { name = "large", extra = "1.00" }]
sugar = [{ percent = 50, say = ["half sugar"] }, { percent = 100, say = ["full sugar"] }]
ice = [{ name = "regular", say = ["regular ice"] }]
"""


def test_the_default_menu_is_a_tea_shops() -> None:
    menu = default_menu()
    assert len(menu.drink) >= 12
    assert {"taro milk tea", "matcha latte", "brown sugar milk tea", "jasmine green tea"} <= {
        d.name for d in menu.drink
    }
    assert menu.money(Decimal("11.75")) == "$11.75"


def test_a_small_menu_is_enough() -> None:
    menu = parse_menu(SMALL)
    assert menu.default_size is None
    assert menu.drink[0].price == Decimal("2.50")
    assert menu.milk == ()


@pytest.mark.parametrize(
    ("found", "replacement", "message"),
    [
        ('shop = "Corner"', "", "missing required field `shop`"),
        ('shop = "Corner"', 'shop = "Corner"\nshup = 1', "unknown field `shup`"),
        ('price = "2.50"', 'price = "cheap"', r"\$\.drink\[0\]\.price"),
        ('price = "2.50"', 'price = "2.505"', "price of 'green tea' is 2.505"),
        ('price = "2.50"', 'price = "-2.50"', "price of 'green tea' is -2.50"),
        ('price = "2.50"', 'price = "NaN"', "price of 'green tea' is NaN"),
        ('"EUR"', '"euro"', r"\$\.currency"),
        ('name = "green tea"', 'name = "Green Tea 2"', r"\$\.drink\[0\]\.name"),
        ('drink = [{ name = "green tea", price = "2.50" }]', "drink = []", r"\$\.drink"),
        ("percent = 50", "percent = 500", r"\$\.sugar\[0\]\.percent"),
        ('default_ice = "regular"', 'default_ice = "crushed"', "default_ice is 'crushed', known are regular"),
        ("default_sugar_percent = 100", "default_sugar_percent = 75", "default_sugar_percent is 75, known are 50, 100"),
        ('say = ["half sugar"]', 'say = ["full sugar"]', "'full sugar' is said for 2 entries"),
        ('price = "2.50" }', 'price = "2.50", milk = "oat" }', "milk of drink 'green tea' is 'oat', known are none"),
        ('shop = "Corner"', "shop = ", "no TOML"),
        ("ice = [", 'pronunciations = { tea = ["tee"] }\nice = [', "pronunciations.tea: 'tee'"),
    ],
)
def test_a_faulty_menu_is_refused_by_the_key(found: str, replacement: str, message: str) -> None:
    assert found in SMALL
    with pytest.raises(MenuError, match=message):
        parse_menu(SMALL.replace(found, replacement, 1))

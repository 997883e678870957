"""The menu: what is sold, for how much, and how customers say it."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

import msgspec

from quiclb.errors import ConfigError
from quiclb.settings.documents import read_text
from voice_gateway.errors import AgentError

Phrase = Annotated[str, msgspec.Meta(pattern=r"^[a-z']+( [a-z']+)*$")]
Percent = Annotated[int, msgspec.Meta(ge=0, le=200)]


class MenuError(AgentError):
    """A menu file that cannot be used; the message names the key."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all tables share: unknown keys are refused."""


class Size(Entry, frozen=True):
    """A cup; `extra` is added to the price of the drink."""

    name: Phrase
    also: tuple[Phrase, ...] = ()
    extra: Decimal = Decimal("0.00")


class Drink(Entry, frozen=True):
    """A drink at the price of the smallest extra; `milk` is what it is made with unless the customer says otherwise."""

    name: Phrase
    price: Decimal
    also: tuple[Phrase, ...] = ()
    milk: str | None = None


class Milk(Entry, frozen=True):
    """A kind of milk."""

    name: Phrase
    also: tuple[Phrase, ...] = ()
    extra: Decimal = Decimal("0.00")


class Sugar(Entry, frozen=True):
    """A level of sweetness and what customers call it."""

    percent: Percent
    say: tuple[Phrase, ...]


class Ice(Entry, frozen=True):
    """An amount of ice and what customers call it."""

    name: Phrase
    say: tuple[Phrase, ...]


class Topping(Entry, frozen=True):
    """What goes into the cup besides the drink."""

    name: Phrase
    also: tuple[Phrase, ...] = ()
    extra: Decimal = Decimal("0.00")


class Menu(Entry, frozen=True):
    """A whole menu, as in the file; read one with `parse_menu`."""

    shop: str
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
    symbol: str
    size: tuple[Size, ...]
    drink: Annotated[tuple[Drink, ...], msgspec.Meta(min_length=1)]
    sugar: tuple[Sugar, ...]
    ice: tuple[Ice, ...]
    default_sugar_percent: Percent
    default_ice: str
    default_size: str | None = None
    milk: tuple[Milk, ...] = ()
    topping: tuple[Topping, ...] = ()
    pronunciations: dict[Phrase, tuple[str, ...]] = {}

    def money(self, amount: Decimal) -> str:
        """Return an amount as a person reads it: `$11.75`."""
        return f"{self.symbol}{amount:.2f}"


def parse_menu(text: str) -> Menu:
    """Read a menu from TOML; raises `MenuError`."""
    try:
        menu = msgspec.convert(tomllib.loads(text), Menu)
    except msgspec.ValidationError as error:
        raise MenuError(f"menu: {error}") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise MenuError(f"menu: no TOML: {reason}") from error
    for fault in _faults(menu):
        raise MenuError(f"menu: {fault}")
    return menu


def read_menu(path: Path) -> Menu:
    """Read a menu file; raises `MenuError`."""
    try:
        text = read_text(path)
    except ConfigError as error:
        raise MenuError(f"{path}: {error}") from None
    return parse_menu(text)


def default_menu() -> Menu:
    """Return the menu that ships with the package."""
    return parse_menu(resources.files(__package__).joinpath("menu.toml").read_text("utf-8"))


_PHONES: Final = re.compile(r"^[A-Z]{1,2}( [A-Z]{1,2})*$")


def _faults(menu: Menu) -> Iterable[str]:
    yield from _dangling("default_size", menu.default_size, [size.name for size in menu.size])
    yield from _dangling("default_ice", menu.default_ice, [ice.name for ice in menu.ice])
    yield from _dangling("default_sugar_percent", menu.default_sugar_percent, [sugar.percent for sugar in menu.sugar])
    for drink in menu.drink:
        yield from _dangling(f"milk of drink {drink.name!r}", drink.milk, [milk.name for milk in menu.milk])
    said = Counter(phrase for phrases in spoken(menu).values() for phrase in phrases)
    yield from (f"{phrase!r} is said for {times} entries" for phrase, times in said.items() if times > 1)
    for word, variants in menu.pronunciations.items():
        for phones in variants:
            if not _PHONES.match(phones):
                yield f"pronunciations.{word}: {phones!r} is no sequence of ARPAbet phones"
    prices = {f"price of {drink.name!r}": drink.price for drink in menu.drink}
    extras: tuple[Size | Milk | Topping, ...] = (*menu.size, *menu.milk, *menu.topping)
    prices |= {f"extra of {entry.name!r}": entry.extra for entry in extras}
    for key, price in prices.items():
        if not price.is_finite() or price < 0 or price != price.quantize(Decimal("0.01")):
            yield f"{key} is {price}, a price is 0.00 or more with two decimals"


def _dangling(key: str, name: object, known: list[str] | list[int]) -> Iterable[str]:
    if name is not None and name not in known:
        yield f"{key} is {name!r}, known are {', '.join(map(str, known)) or 'none'}"


def spoken(menu: Menu) -> dict[tuple[str, str | int], tuple[str, ...]]:
    """Return every phrase of the menu under (table, entry)."""
    return {
        **{("size", size.name): (size.name, *size.also) for size in menu.size},
        **{("drink", drink.name): (drink.name, *drink.also) for drink in menu.drink},
        **{("milk", milk.name): (milk.name, *milk.also) for milk in menu.milk},
        **{("sugar", sugar.percent): sugar.say for sugar in menu.sugar},
        **{("ice", ice.name): ice.say for ice in menu.ice},
        **{("topping", topping.name): (topping.name, *topping.also) for topping in menu.topping},
    }

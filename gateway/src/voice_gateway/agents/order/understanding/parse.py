"""From tokens to intents. Every word has to fit, or the utterance has no meaning.

utterance  := clause+                                     joined by "and" or by nothing
clause     := (wish | order | change | remove | wishes about the latest item) [instead of target]
order      := [add] [quantity | a] modifier* (drink | off the menu) modifier*
change     := change target [to] (modifier | quantity | drink)+   |   add topping+ [to target]
remove     := remove (target | topping+ [from target])
target     := it | [the] drink | [the] place | the size [drink]
modifier   := [with | and] (size | milk | sugar | ice | topping | without topping)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from voice_gateway.agents.order.understanding.grammar import Kind, Lexicon, Token
from voice_gateway.agents.order.understanding.intents import (
    Add,
    Change,
    Changes,
    Intent,
    OffMenu,
    Remove,
    Target,
    Wish,
)

_MODIFIERS = frozenset((Kind.SIZE, Kind.MILK, Kind.SUGAR, Kind.ICE, Kind.TOPPING, Kind.WITHOUT_TOPPING))
_BEGINNINGS = frozenset((Kind.AND, Kind.ADD, Kind.CHANGE, Kind.REMOVE))
_COUNTS = frozenset((Kind.QUANTITY, Kind.ARTICLE))
_FIELDS = {
    Kind.DRINK: "drink",
    Kind.QUANTITY: "quantity",
    Kind.SIZE: "size",
    Kind.MILK: "milk",
    Kind.SUGAR: "sugar_percent",
    Kind.ICE: "ice",
}


def parse(words: Sequence[str], lexicon: Lexicon) -> tuple[Intent, ...] | None:
    """Return what the words mean, in order; `None` where any of them does not fit. Never raises."""
    tokens = lexicon.tokens(words)
    if not tokens:
        return None
    if tokens[0].kind is Kind.IT and tokens[1:] and tokens[1].kind in _BEGINNINGS:
        tokens = tokens[1:]  # the breath before a sentence sounds like it
    parser = _Parser(tokens)
    intents: list[Intent] = []
    while parser.rest:
        intent = parser.clause()
        if intent is None:
            return None
        intents.append(intent)
        if parser.take(Kind.AND) and not parser.rest:
            return None
    return tuple(intents)


class _Parser:
    """Reads the tokens from left to right; a method that returns `None` leaves the parse failed."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def rest(self) -> tuple[Token, ...]:
        return self._tokens[self._at :]

    def take(self, *kinds: Kind) -> Token | None:
        if self.rest and self.rest[0].kind in kinds:
            self._at += 1
            return self._tokens[self._at - 1]
        return None

    def clause(self) -> Intent | None:
        intent = self._clause()
        if not isinstance(intent, Add | Change) or not self.take(Kind.INSTEAD):
            return intent
        target = self._replaced()
        return None if target is None else Change(intent.changes, target)

    def _clause(self) -> Intent | None:
        self.take(Kind.AND)
        if wish := self.take(Kind.WISH):
            return wish.value if isinstance(wish.value, Wish) else None
        if self.take(Kind.CHANGE):
            return self._change()
        if self.take(Kind.REMOVE):
            return self._remove()
        if _item_length(self.rest):
            return self._order()
        is_asking = self.take(Kind.ADD) is not None
        target = self._target(is_drink_allowed=False) if is_asking else None
        return self._latest(target)

    def _order(self) -> Add | OffMenu | None:
        self.take(Kind.ADD)
        changes: Changes | None = Changes()
        self.take(Kind.ARTICLE)
        name: Token | None = None
        while changes is not None and changes.drink is None and name is None:
            name = self.take(Kind.OFF_MENU)
            if name is None:
                changes = _merged(changes, self.take(*_MODIFIERS, Kind.QUANTITY, Kind.DRINK))
        while changes is not None and self.rest and not self._is_next_item():
            start = self._at
            self.take(Kind.AND)
            self.take(Kind.WITH)
            self.take(Kind.ARTICLE)
            token = self.take(*_MODIFIERS)
            if token is None:
                self._at = start
                break
            changes = _merged(changes, token)
        if changes is None:
            return None
        return Add(changes) if name is None else OffMenu(str(name.value))

    def _is_next_item(self) -> bool:
        """A size right before a drink, or a count, begins another item; so does "and" where a drink follows."""
        first = self.rest[0].kind
        if first in (Kind.AND, Kind.ADD, Kind.SIZE, *_COUNTS):
            return _item_length(self.rest[1:] if first is Kind.AND else self.rest) > 0
        return False

    def _change(self) -> Change | None:
        target = self._target(is_drink_allowed=True)
        if target is None:
            return None
        if not self.take(Kind.TO) and self._is_two_for_to():
            self.take(Kind.QUANTITY)
        changes: Changes | None = Changes()
        while changes is not None and self.rest:
            start = self._at
            self.take(Kind.AND)
            self.take(Kind.WITH)
            self.take(Kind.ARTICLE)
            token = self.take(*_MODIFIERS, Kind.QUANTITY, Kind.DRINK)
            if token is None:
                self._at = start
                break
            changes = _merged(changes, token)
        return None if changes is None or changes == Changes() else Change(changes, target)

    def _is_two_for_to(self) -> bool:
        """ "Change it to large" and "change it two large" sound the same; only the first is English."""
        return self.rest[:1] == (Token(Kind.QUANTITY, 2),) and len(self.rest) > 1 and self.rest[1].kind in _MODIFIERS

    def _remove(self) -> Intent | None:
        start = self._at
        self.take(Kind.THE, Kind.ARTICLE)
        toppings = []
        while (token := self.take(Kind.TOPPING)) is not None:
            toppings.append(str(token.value))
            if self.rest[:1] == (Token(Kind.AND),) and self.rest[1:2] and self.rest[1].kind is Kind.TOPPING:
                self.take(Kind.AND)
        if toppings:
            target: Target | None = self._target(is_drink_allowed=True) if self.take(Kind.TO) else Target()
            return None if target is None else Change(Changes(without_toppings=tuple(toppings)), target)
        self._at = start
        self.take(Kind.ARTICLE)
        target = self._target(is_drink_allowed=True)
        return None if target is None else Remove(target)

    def _latest(self, target: Target | None) -> Change | None:
        """Modifiers on their own are about the latest item, or the one named behind them: "add boba to the taro"."""
        changes: Changes | None = Changes()
        while changes is not None and self.rest:
            start = self._at
            self.take(Kind.AND)
            self.take(Kind.WITH)
            self.take(Kind.THE, Kind.ARTICLE)
            token = self.take(*_MODIFIERS)
            if token is None or (start != self._at - 1 and self._is_item_from(start)):
                self._at = start
                break
            changes = _merged(changes, token)
        if changes is None or changes == Changes():
            return None
        if target is None and self.rest and self.rest[0].kind is Kind.TO:
            self.take(Kind.TO)
            target = self._target(is_drink_allowed=True)
            if target is None:
                return None
        return Change(changes, target or Target())

    def _is_item_from(self, start: int) -> bool:
        tokens = self._tokens[start:]
        return tokens[0].kind is Kind.AND and _item_length(tokens[1:]) > 0

    def _target(self, *, is_drink_allowed: bool) -> Target | None:
        if self.take(Kind.IT):
            return Target()
        start = self._at
        is_certain = self.take(Kind.THE) is not None
        if place := self.take(Kind.PLACE):
            return Target(place=int(place.value)) if isinstance(place.value, int) else None
        if is_drink_allowed:
            if is_certain and (size := self.take(Kind.SIZE)):
                sized = self.take(Kind.DRINK)
                return Target(drink=str(sized.value) if sized else None, size=str(size.value))
            if self.take(Kind.ASPECT):
                return self._target(is_drink_allowed=True) if self._is_of_target() else Target()
            if drink := self.take(Kind.DRINK):
                return Target(drink=str(drink.value))
        self._at = start
        return None

    def _replaced(self) -> Target | None:
        """What follows "instead of": "the large one", "a matcha latte"."""
        if self.rest[:1] and self.rest[0].kind is Kind.ARTICLE:
            self.take(Kind.ARTICLE)
        elif target := self._target(is_drink_allowed=True):
            return target
        size, drink = self.take(Kind.SIZE), self.take(Kind.DRINK)
        if size is None and drink is None:
            return None
        return Target(drink=str(drink.value) if drink else None, size=str(size.value) if size else None)

    def _is_of_target(self) -> bool:
        """Whether "of the taro milk tea" follows, rather than "to oat milk"."""
        kinds = [token.kind for token in self.rest[:3]]
        if kinds[:1] == [Kind.TO] and kinds[1:] and (kinds[1] is Kind.IT or kinds[1:] in _NAMED_TARGETS):
            self.take(Kind.TO)
            return True
        return False


_NAMED_TARGETS = ([Kind.THE, Kind.DRINK], [Kind.THE, Kind.PLACE])


def _item_length(tokens: Sequence[Token]) -> int:
    """How many tokens lead up to and including a drink, or what is off the menu, where an item can begin; else 0."""
    at = 1 if tokens and tokens[0].kind is Kind.ADD else 0
    if at < len(tokens) and tokens[at].kind in _COUNTS:
        at += 1
    while at < len(tokens) and tokens[at].kind in _MODIFIERS:
        at += 1
    return at + 1 if at < len(tokens) and tokens[at].kind in (Kind.DRINK, Kind.OFF_MENU) else 0


def _merged(changes: Changes, token: Token | None) -> Changes | None:
    """Take one more wish in; `None` where it contradicts an earlier one."""
    if token is None:
        return None
    if token.kind is Kind.TOPPING:
        return replace(changes, toppings=tuple(dict.fromkeys((*changes.toppings, str(token.value)))))
    if token.kind is Kind.WITHOUT_TOPPING:
        return replace(changes, without_toppings=(*changes.without_toppings, str(token.value)))
    name = _FIELDS[token.kind]
    if getattr(changes, name) not in (None, token.value):
        return None
    said: dict[str, Any] = {name: token.value}
    return replace(changes, **said)

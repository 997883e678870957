"""The clerk: an order and what the customer meant become the next order and an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from voice_gateway.agents.order.menu import Menu
from voice_gateway.agents.order.order import MAX_ITEMS, Item, Order, Status, order_from_state
from voice_gateway.agents.order.understanding.grammar import NUMBERS
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

_HOT: Final = "hot"
"""The `ice` of a menu that is said before the drink."""
NOT_UNDERSTOOD: Final = "Sorry, I did not get that. Could you say it again?"


class Question(Enum):
    """What the clerk waits to hear; it decides what "yes" and "no" mean."""

    MORE = "more"
    SIZE = "size"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Where the conversation stands; immutable."""

    menu: Menu
    order: Order = field(default_factory=Order)
    question: Question = Question.MORE
    misunderstandings: int = 0

    def to_state(self) -> dict[str, Any]:
        """Return the plain map that is saved: the order, and the question where a "yes" would place it."""
        state = self.order.to_state(self.menu)
        return {**state, "question": "confirm"} if self.question is Question.CONFIRM else state


def restored(menu: Menu, state: Mapping[str, Any]) -> Dialogue:
    """Take a conversation up from what `Dialogue.to_state` returned; raises `AgentError`."""
    order = order_from_state(state, menu)
    if state.get("question") == "confirm" and order.items:
        return Dialogue(menu, order, Question.CONFIRM)
    return _asking(Dialogue(menu, order))


def greeting(dialogue: Dialogue) -> str:
    """Return how the clerk opens the conversation."""
    if dialogue.order.items:
        return "Welcome back. " + _read_back(dialogue)
    return f"Hi, welcome to {dialogue.menu.shop}! What can I get you?"


def where_it_stands(dialogue: Dialogue) -> str:
    """Return what the clerk says to a customer who was cut off, and whose last words may be lost."""
    said = ["Sorry, we were cut off."]
    if dialogue.order.status is Status.CONFIRMED:
        return " ".join([*said, "Your order is placed. See you soon!"])
    if dialogue.order.items:
        said.append(_read_back(dialogue))
    elif dialogue.question is Question.MORE:
        return " ".join([*said, "What can I get you?"])
    question = [] if dialogue.question is Question.MORE else _next_question(dialogue, ())
    return " ".join([*said, *(question or ["What did you say last?"])])


def answer(dialogue: Dialogue, intents: Sequence[Intent] | None) -> tuple[Dialogue, str]:
    """Act on what was meant, `None` where it was not understood, and return the next dialogue and the answer."""
    if not intents:
        failed = replace(dialogue, misunderstandings=dialogue.misunderstandings + 1)
        return failed, NOT_UNDERSTOOD if failed.misunderstandings < 2 else f"{NOT_UNDERSTOOD} {_example(dialogue.menu)}"
    dialogue = replace(dialogue, misunderstandings=0)
    said: list[str] = []
    for intent in _without_preamble(intents):
        dialogue, sentence = _act(dialogue, intent)
        if sentence and sentence not in said:
            said.append(sentence)
    return dialogue, " ".join(said + _next_question(dialogue, intents))


def _act(dialogue: Dialogue, intent: Intent) -> tuple[Dialogue, str]:
    match intent:
        case Add(changes):
            return _add(dialogue, changes)
        case Change(changes, target):
            return _change(dialogue, changes, target)
        case Remove(target):
            item = _find(dialogue.order, target)
            if item is None:
                return dialogue, _not_there(dialogue, target)
            without = replace(dialogue, order=dialogue.order.remove(item.id))
            return _asking(without), f"I took off the {item.drink}."
        case OffMenu(name):
            return dialogue, f"Sorry, {name} is not on our menu."
        case Wish():
            return _wish(dialogue, intent)


def _add(dialogue: Dialogue, changes: Changes) -> tuple[Dialogue, str]:
    if len(dialogue.order.items) >= MAX_ITEMS:
        return dialogue, f"Sorry, I can take {MAX_ITEMS} lines on one order."
    order = dialogue.order if dialogue.order.status is Status.OPEN else Order()
    order = order.add(changes, dialogue.menu)
    return _asking(replace(dialogue, order=order)), f"{_capital(_describe(order.items[-1], dialogue.menu))}."


def _change(dialogue: Dialogue, changes: Changes, target: Target) -> tuple[Dialogue, str]:
    item = _find(dialogue.order, target)
    if item is None:
        return dialogue, _not_there(dialogue, target)
    order = dialogue.order.change(item.id, changes, dialogue.menu)
    changed = order.item(item.id)
    described = _describe(changed or item, dialogue.menu)
    return _asking(replace(dialogue, order=order)), f"Okay, {described}."


def _wish(dialogue: Dialogue, wish: Wish) -> tuple[Dialogue, str]:
    order = dialogue.order
    if order.status is Status.CONFIRMED and wish in (Wish.YES, Wish.NO, Wish.DONE, Wish.CONFIRM):
        return dialogue, "Your order is placed. See you soon!"
    if wish is Wish.YES and dialogue.question is Question.CONFIRM:
        wish = Wish.CONFIRM
    elif wish is Wish.NO and dialogue.question is Question.MORE and order.items:
        wish = Wish.DONE
    match wish:
        case Wish.CLEAR:
            return Dialogue(dialogue.menu), "All right, I cleared your order."
        case Wish.GREET:
            return dialogue, "Hi!"
        case Wish.HELP:
            return dialogue, _help(dialogue.menu)
        case Wish.NO if dialogue.question is Question.CONFIRM:
            return _asking(replace(dialogue, question=Question.MORE)), "What should I change?"
        case Wish.YES | Wish.NO:
            return dialogue, ""
    if not order.items:
        return dialogue, "Your order is empty so far."
    if wish is Wish.TOTAL:
        return dialogue, f"That is {dialogue.menu.money(order.total(dialogue.menu))}."
    if wish is Wish.READ_BACK:
        return dialogue, _read_back(dialogue)
    if dialogue.question is Question.SIZE:
        return dialogue, ""
    if wish is Wish.CONFIRM:
        placed = replace(dialogue, order=replace(order, status=Status.CONFIRMED), question=Question.MORE)
        total = dialogue.menu.money(order.total(dialogue.menu))
        return placed, f"Thank you! Your order is placed, that is {total}."
    return replace(dialogue, question=Question.CONFIRM), _read_back(dialogue)


def _asking(dialogue: Dialogue) -> Dialogue:
    """Let the question be what is missing; a change after the read-back calls for another."""
    if any(item.size is None for item in dialogue.order.items):
        item = next(item for item in dialogue.order.items if item.size is None)
        return replace(dialogue, question=Question.SIZE, order=replace(dialogue.order, latest_id=item.id))
    return replace(dialogue, question=Question.MORE)


def _next_question(dialogue: Dialogue, intents: Sequence[Intent]) -> list[str]:
    item = dialogue.order.item(dialogue.order.latest_id)
    if dialogue.question is Question.SIZE and item is not None:
        sizes = [size.name for size in dialogue.menu.size]
        return [f"What size {item.drink} would you like: {_listed(sizes, 'or')}?"]
    if dialogue.question is Question.CONFIRM:
        return ["Shall I place the order?"]
    if dialogue.order.status is Status.CONFIRMED:
        return []
    if intents and isinstance(intents[-1], OffMenu):
        return ["What would you like instead?"]
    if not dialogue.order.items:
        return ["What can I get you?"]
    return [] if Wish.NO in intents and len(intents) == 1 else ["Anything else?"]


def _without_preamble(intents: Sequence[Intent]) -> Sequence[Intent]:
    """ "No, make it small" and "Yes, and a matcha" are about what follows."""
    if len(intents) > 1 and intents[0] in (Wish.YES, Wish.NO, Wish.GREET):
        return intents[1:]
    return intents


def _find(order: Order, target: Target) -> Item | None:
    if target.place is not None:
        place = target.place - 1 if target.place > 0 else target.place
        return order.items[place] if -len(order.items) <= place < len(order.items) else None
    if target.drink is not None or target.size is not None:
        fits = (
            item
            for item in reversed(order.items)
            if target.drink in (None, item.drink) and target.size in (None, item.size)
        )
        return next(fits, None)
    return order.item(order.latest_id)


def _not_there(dialogue: Dialogue, target: Target) -> str:
    if not dialogue.order.items:
        return "Your order is empty so far."
    if target.drink is None:
        return "I do not see that one on your order."
    return f"There is no {' '.join(filter(None, (target.size, target.drink)))} on your order."


def _read_back(dialogue: Dialogue) -> str:
    items = [_describe(item, dialogue.menu) for item in dialogue.order.items]
    total = dialogue.menu.money(dialogue.order.total(dialogue.menu))
    return f"You have {_listed(items, 'and')}. That is {total}."


def _describe(item: Item, menu: Menu) -> str:
    count = NUMBERS[item.quantity - 1] if item.quantity <= len(NUMBERS) else str(item.quantity)
    name = item.drink if item.quantity == 1 else f"{item.drink}s"
    usual_milk = next((drink.milk for drink in menu.drink if drink.name == item.drink), None)
    parts = [f"{item.milk} milk"] if item.milk not in (None, usual_milk) else []
    if item.sugar_percent != menu.default_sugar_percent:
        parts.append(f"{item.sugar_percent} percent sugar" if item.sugar_percent else "no sugar")
    if item.ice not in (menu.default_ice, _HOT):
        parts.append("no ice" if item.ice == "none" else f"{item.ice} ice")
    described = " ".join(filter(None, (count, item.size, _HOT if item.ice == _HOT else "", name)))
    extras = _listed([*parts, *item.toppings], "and")
    return f"{described} with {extras}" if extras else described


def _help(menu: Menu) -> str:
    drinks = [drink.name for drink in menu.drink[:4]]
    return f"We have {_listed(drinks, 'and')}, and more. {_example(menu)}"


def _example(menu: Menu) -> str:
    size = f"{menu.size[-1].name} " if menu.size else ""
    return f"You can say, for example: a {size}{menu.drink[0].name} with {menu.sugar[-2].say[0]}."


def _listed(names: Sequence[str], joint: str) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])}{',' if len(names) > 2 else ''} {joint} {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

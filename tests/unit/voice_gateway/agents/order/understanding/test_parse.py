"""Sentences and what they mean; at least as many that must mean nothing."""

from __future__ import annotations

import pytest

from voice_gateway.agents.order.menu import default_menu
from voice_gateway.agents.order.understanding.grammar import Lexicon
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
from voice_gateway.agents.order.understanding.parse import parse

LEXICON = Lexicon(default_menu())
TARO, MATCHA, JASMINE = "taro milk tea", "matcha latte", "jasmine green tea"


def add(drink: str, **said: object) -> Add:
    return Add(Changes(drink=drink, **said))  # type: ignore[arg-type]


def change(target: Target | None = None, **said: object) -> Change:
    return Change(Changes(**said), target or Target())  # type: ignore[arg-type]


UNDERSTOOD: list[tuple[str, tuple[Intent, ...]]] = [
    ("could i have a taro with extra boba", (add(TARO, toppings=("boba",)),)),
    ("extra boba please", (change(toppings=("boba",)),)),
    ("a large taro to me please", (add(TARO, size="large"),)),
    ("give me two large taros", (add(TARO, quantity=2, size="large"),)),
    ("three hot matchas", (add(MATCHA, quantity=3, ice="hot"),)),
    ("a hot taro milk tea", (add(TARO, ice="hot"),)),
    ("make it hot", (change(ice="hot"),)),
    ("what do i have so far", (Wish.READ_BACK,)),
    ("how much is it so far", (Wish.TOTAL,)),
    ("that is all thank you", (Wish.DONE,)),
    ("that is it thank you very much", (Wish.DONE,)),
    ("a medium instead of the large one", (change(Target(size="large"), size="medium"),)),
    ("can i have a medium instead of a large", (change(Target(size="large"), size="medium"),)),
    ("make it a medium instead of the large one", (change(Target(size="large"), size="medium"),)),
    ("a taro rather than the matcha", (change(Target(drink=MATCHA), drink=TARO),)),
    ("a small instead of the large taro", (change(Target(drink=TARO, size="large"), size="small"),)),
    ("oat milk instead", (change(milk="oat"),)),
    ("remove the large one", (Remove(Target(size="large")),)),
    ("change the large one to small", (change(Target(size="large"), size="small"),)),
    ("can i have a coffee", (OffMenu("coffee"),)),
    ("two large coffees with oat milk and a taro", (OffMenu("coffee"), add(TARO))),
    ("hot chocolate please", (OffMenu("hot chocolate"),)),
    (
        "large taro milk tea oat milk seventy five percent sugar and add a matcha latte",
        (add(TARO, size="large", milk="oat", sugar_percent=75), add(MATCHA)),
    ),
    ("and add a matcha latte", (add(MATCHA),)),
    ("taro", (add(TARO),)),
    ("hi can i have a taro milk tea please", (Wish.GREET, add(TARO))),
    ("um i'd like a small jasmine tea thank you", (add(JASMINE, size="small"),)),
    ("could i get an oolong", (add("oolong milk tea"),)),
    ("two large taro milk teas", (add(TARO, quantity=2, size="large"),)),
    ("a couple of matcha lattes", (add(MATCHA, quantity=2),)),
    ("another matcha", (add(MATCHA, quantity=1),)),
    ("one more matcha latte", (add(MATCHA, quantity=1),)),
    ("ten thai teas", (add("thai tea", quantity=10),)),
    ("i want a half sugar brown sugar milk tea", (add("brown sugar milk tea", sugar_percent=50),)),
    ("brown sugar with no sugar", (add("brown sugar milk tea", sugar_percent=0),)),
    ("jasmine green tea with no ice", (add(JASMINE, ice="none"),)),
    ("jasmine green tea less ice quarter sugar", (add(JASMINE, ice="light", sugar_percent=25),)),
    ("a taro with boba and pudding", (add(TARO, toppings=("boba", "pudding")),)),
    ("a taro with tapioca pearls", (add(TARO, toppings=("boba",)),)),
    ("a taro with no boba", (add(TARO, without_toppings=("boba",)),)),
    ("chai latte with soy", (add("chai latte", milk="soy"),)),
    ("unsweetened matcha", (add(MATCHA, sugar_percent=0),)),
    ("a matcha latte with fifty percent", (add(MATCHA, sugar_percent=50),)),
    (
        "large taro milk tea large matcha latte",
        (add(TARO, size="large"), add(MATCHA, size="large")),
    ),
    (
        "taro milk tea with oat milk and boba and a matcha",
        (add(TARO, milk="oat", toppings=("boba",)), add(MATCHA)),
    ),
    (
        "a taro milk tea large and two small matcha lattes",
        (add(TARO, size="large"), add(MATCHA, quantity=2, size="small")),
    ),
    ("a taro and a matcha and an oolong", (add(TARO), add(MATCHA), add("oolong milk tea"))),
    ("make it small", (change(size="small"),)),
    ("make it a large with half sugar", (change(size="large", sugar_percent=50),)),
    ("make that two", (change(quantity=2),)),
    ("change it to three", (change(quantity=3),)),
    ("change the matcha latte to large", (change(Target(drink=MATCHA), size="large"),)),
    ("change the matcha latte two large", (change(Target(drink=MATCHA), size="large"),)),
    ("change the first one to small", (change(Target(place=1), size="small"),)),
    ("change the taro milk tea to a jasmine green tea", (change(Target(drink=TARO), drink=JASMINE),)),
    ("change the size to large", (change(size="large"),)),
    ("change the milk to oat milk", (change(milk="oat"),)),
    ("change the milk of the taro to oat", (change(Target(drink=TARO), milk="oat"),)),
    ("switch that to soy milk", (change(milk="soy"),)),
    ("could you make it no ice", (change(ice="none"),)),
    ("can i get that with oat milk", (change(milk="oat"),)),
    ("add boba", (change(toppings=("boba",)),)),
    ("add boba to the taro milk tea", (change(Target(drink=TARO), toppings=("boba",)),)),
    ("oat milk and boba", (change(milk="oat", toppings=("boba",)),)),
    ("with oat milk please", (change(milk="oat"),)),
    ("large", (change(size="large"),)),
    ("remove the boba", (change(without_toppings=("boba",)),)),
    ("remove boba from the taro milk tea", (change(Target(drink=TARO), without_toppings=("boba",)),)),
    ("no boba", (change(without_toppings=("boba",)),)),
    ("remove the matcha latte", (Remove(Target(drink=MATCHA)),)),
    ("cancel that", (Remove(),)),
    ("take off the last one", (Remove(Target(place=-1)),)),
    ("remove the second drink", (Remove(Target(place=2)),)),
    ("cancel my order", (Wish.CLEAR,)),
    ("start over", (Wish.CLEAR,)),
    ("can you read it back", (Wish.READ_BACK,)),
    ("what's in my order", (Wish.READ_BACK,)),
    ("what's the total", (Wish.TOTAL,)),
    ("how much is it", (Wish.TOTAL,)),
    ("that's all", (Wish.DONE,)),
    ("no that's all thank you", (Wish.DONE,)),
    ("yes please", (Wish.YES,)),
    ("yes that's right", (Wish.YES, Wish.YES)),
    ("place the order", (Wish.CONFIRM,)),
    ("no thanks", (Wish.NO,)),
    ("no make it small", (Wish.NO, change(size="small"))),
    ("what do you have", (Wish.HELP,)),
    ("hello", (Wish.GREET,)),
    ("a small thai tea and what's the total", (add("thai tea", size="small"), Wish.TOTAL)),
    ("make the taro half sugar and add a matcha", (change(Target(drink=TARO), sugar_percent=50), add(MATCHA))),
    ("boba and a matcha latte", (change(toppings=("boba",)), add(MATCHA))),
    ("it and add a matcha latte", (add(MATCHA),)),
    ("it remove the taro", (Remove(Target(drink=TARO)),)),
]

NOT_UNDERSTOOD = [
    "instead of the large one",
    "a medium instead of",
    "a medium instead of oat milk",
    "a coffee of the taro",
    "",
    "please",
    "um uh",
    "a",
    "the",
    "and",
    "two",
    "one large",
    "add",
    "i'd like",
    "can i have a",
    "remove",
    "remove the",
    "change",
    "change it",
    "change it to",
    "make it",
    "milk",
    "size",
    "ice with",
    "taro milk tea and",
    "taro milk tea with",
    "a taro with a",
    "and a",
    "a large small taro milk tea",
    "taro milk tea with oat milk and soy milk",
    "matcha latte half sugar full sugar",
    "two three taro milk teas",
    "jasmine no ice extra ice",
    "a cheeseburger",
    "large taro milk tea and a cheeseburger",
    "what is the weather like",
    "thirty percent sugar",
    "my and almond oat the milk to almond and a light me yes to and can you",
    "i would like a teas order and fruit right",
    "delete order oat and red bean",
    "that with oat lattes no that's all for now please beans almond",
    "what is the order like a passion fruit to a",
    "taro me is three and oat and red bean",
    "the the the",
    "to a matcha",
    "add the",
    "from the taro",
    "remove boba from",
    "the first one",
    "yes and",
    "large and",
    "no the",
    "that",
    "make it make it",
    "it matcha latte",
    "it and",
]


@pytest.mark.parametrize(("sentence", "intents"), UNDERSTOOD, ids=[sentence for sentence, _ in UNDERSTOOD])
def test_understood(sentence: str, intents: tuple[Intent, ...]) -> None:
    assert parse(sentence.split(), LEXICON) == intents


@pytest.mark.parametrize("sentence", NOT_UNDERSTOOD)
def test_not_understood(sentence: str) -> None:
    assert parse(sentence.split(), LEXICON) is None

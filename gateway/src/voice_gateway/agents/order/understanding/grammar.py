"""From words to tokens: every phrase that means something, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from voice_gateway.agents.order.menu import Menu, spoken
from voice_gateway.agents.order.understanding.intents import Wish


class Kind(Enum):
    """The parts of speech at a counter."""

    DRINK = auto()
    SIZE = auto()
    MILK = auto()
    SUGAR = auto()
    ICE = auto()
    TOPPING = auto()
    WITHOUT_TOPPING = auto()
    QUANTITY = auto()
    ARTICLE = auto()
    THE = auto()
    ADD = auto()
    CHANGE = auto()
    REMOVE = auto()
    IT = auto()
    PLACE = auto()
    ASPECT = auto()
    AND = auto()
    WITH = auto()
    TO = auto()
    INSTEAD = auto()
    OFF_MENU = auto()
    WISH = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A phrase's meaning; `value` is the menu's name, a number or a `Wish`."""

    kind: Kind
    value: str | int | Wish = ""


class Lexicon:
    """All phrases of a menu and of the language around it."""

    def __init__(self, menu: Menu) -> None:
        self.phrases: Mapping[tuple[str, ...], Token | None] = _phrases(menu)
        self.vocabulary = frozenset(word for phrase in self.phrases for word in phrase)
        self._longest = max(map(len, self.phrases))

    def tokens(self, words: Sequence[str]) -> tuple[Token, ...] | None:
        """Cut words into the longest phrases that mean something; `None` where a word belongs to no phrase."""
        tokens: list[Token] = []
        position = 0
        while position < len(words):
            for length in range(min(self._longest, len(words) - position), 0, -1):
                phrase = tuple(words[position : position + length])
                if phrase in self.phrases:
                    break
            else:
                return None
            if (token := self.phrases[phrase]) is not None:
                tokens.append(token)
            position += length
        return tuple(tokens)


NUMBERS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
PLACES: Final = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
FILLERS: Final = (
    *("please", "um", "uh", "okay", "just", "actually", "also", "then", "too", "as well", "well", "so", "thanks"),
    *("thank you", "for me", "to me", "instead", "again", "so far", "thank you very much"),
)
SAYINGS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.ADD: (
        *("i'd like", "i would like", "i'll have", "i'll take", "i want", "i need", "can i have", "can i get", "add"),
        *("could i have", "could i get", "may i have", "let me get", "let me have", "give me", "get me", "we'd like"),
        *("i'd like to order", "i'd like to have", "i want to order", "can you add", "could you add"),
    ),
    Kind.CHANGE: ("change", "make", "switch", "can you make", "could you make", "can you change", "could you change"),
    Kind.REMOVE: ("remove", "cancel", "take off", "take out", "delete", "drop", "i don't want", "can you remove"),
    Kind.ARTICLE: ("a", "an"),
    Kind.THE: ("the", "my"),
    Kind.IT: ("it", "that", "this", "that one", "this one"),
    Kind.ASPECT: ("size", "milk", "sugar", "ice", "topping", "toppings"),
    Kind.AND: ("and",),
    Kind.WITH: ("with",),
    Kind.TO: ("to", "from", "on", "for", "into", "of", "in"),
    Kind.INSTEAD: ("instead of", "rather than"),
}
OFF_MENU: Final = (
    *("coffee", "iced coffee", "espresso", "hot chocolate", "lemonade", "soda", "juice", "orange juice", "water"),
    *("milk shake", "beer", "sandwich", "cookie"),
)
"""What customers of a tea shop ask for and few sell; what a menu has is the menu's."""
WISHES: Final[Mapping[Wish, tuple[str, ...]]] = {
    Wish.CLEAR: (
        *("start over", "cancel everything", "cancel the order", "cancel my order", "remove everything"),
        *("cancel the whole order", "clear the order"),
    ),
    Wish.READ_BACK: (
        *("read back", "read it back", "read that back", "read back my order", "read back the order", "repeat that"),
        *("read my order back", "repeat my order", "repeat the order", "what's in my order", "what do i have"),
        *("what did i order", "can you read it back", "can you repeat my order", "could you read that back"),
        *("can you read back my order", "what is my order", "read me my order"),
    ),
    Wish.TOTAL: (
        *("what's the total", "what is the total", "how much is it", "how much is that", "what's my total"),
        *("how much does it cost", "how much do i owe you", "how much will that be", "what do i owe you"),
        *("how much is the total", "how much"),
    ),
    Wish.DONE: (
        *(
            "that's all",
            "that's it",
            "that is all",
            "that is it",
            "that will be all",
            "that'll be all",
            "nothing else",
            "i'm done",
        ),
        *("no that's all", "no that's it", "that's everything", "nothing more", "that's all for now"),
    ),
    Wish.CONFIRM: (
        "confirm",
        "confirm the order",
        "confirm my order",
        "place the order",
        "place my order",
        "check out",
    ),
    Wish.YES: (
        *("yes", "yeah", "yep", "sure", "correct", "that's right", "that's correct", "right", "sounds good"),
        *("that's fine", "perfect", "looks good"),
    ),
    Wish.NO: ("no", "nope", "no thanks", "no thank you", "that's wrong", "that's not right"),
    Wish.GREET: ("hi", "hello", "hey", "good morning", "good afternoon", "good evening", "hi there", "hello there"),
    Wish.HELP: (
        *("help", "what do you have", "what can i order", "what drinks do you have", "what's on the menu"),
        *("what can i say", "what kinds of tea do you have", "i need help", "what sizes do you have"),
    ),
}

_MENU_KINDS: Final = {
    "size": Kind.SIZE,
    "drink": Kind.DRINK,
    "milk": Kind.MILK,
    "sugar": Kind.SUGAR,
    "ice": Kind.ICE,
    "topping": Kind.TOPPING,
}


def _phrases(menu: Menu) -> dict[tuple[str, ...], Token | None]:
    phrases: dict[str, Token | None] = dict.fromkeys(FILLERS)
    for kind, sayings in SAYINGS.items():
        phrases.update(dict.fromkeys(sayings, Token(kind)))
    for wish, sayings in WISHES.items():
        phrases.update(dict.fromkeys(sayings, Token(Kind.WISH, wish)))
    for place, number in PLACES.items():
        phrases[f"{place} one"] = phrases[f"{place} drink"] = Token(Kind.PLACE, number)
    for number, word in enumerate(NUMBERS, start=1):
        phrases[word] = phrases[f"{word} more"] = Token(Kind.QUANTITY, number)
    for other in OFF_MENU:
        phrases[other] = phrases[plural(other)] = Token(Kind.OFF_MENU, other)
    phrases["another"] = Token(Kind.QUANTITY, 1)
    phrases["a couple of"] = phrases["a couple"] = Token(Kind.QUANTITY, 2)
    for (table, name), said in spoken(menu).items():
        for phrase in said:
            phrases[phrase] = Token(_MENU_KINDS[table], name)
            if table == "drink":
                phrases[plural(phrase)] = Token(Kind.DRINK, name)
            if table == "size":
                phrases[f"{phrase} one"] = Token(Kind.SIZE, name)
            if table == "topping":
                phrases[f"extra {phrase}"] = phrases[f"more {phrase}"] = Token(Kind.TOPPING, name)
                phrases[f"no {phrase}"] = phrases[f"without {phrase}"] = Token(Kind.WITHOUT_TOPPING, name)
    return {tuple(phrase.split()): token for phrase, token in phrases.items()}


def plural(phrase: str) -> str:
    """Return `taro milk teas` for `taro milk tea`; a phrase that ends in a single `s` counts as a plural and stays."""
    if phrase.endswith("s") and not phrase.endswith("ss"):
        return phrase
    if phrase.endswith(_SIBILANTS):
        return f"{phrase}es"
    if phrase.endswith("y") and phrase[-2:-1] not in "aeiou":
        return f"{phrase[:-1]}ies"
    return f"{phrase}s"


def singulars(word: str) -> tuple[str, ...]:
    """Return what `word` may be the plural of, the likeliest first; nothing for a word without `s` at its end."""
    if not word.endswith("s"):
        return ()
    found = [word[:-1]]
    if word.endswith("es") and word[:-2].endswith(_SIBILANTS):
        found.insert(0, word[:-2])
    if word.endswith("ies"):
        found.insert(0, f"{word[:-3]}y")
    return tuple(found)


_SIBILANTS: Final = ("s", "x", "z", "ch", "sh")

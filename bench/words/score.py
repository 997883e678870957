"""How many words were wrong, and how many orders right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bench.words.listener import Understanding
from voice_gateway.agents.order.dialogue import Dialogue, answer
from voice_gateway.agents.order.menu import default_menu
from voice_gateway.agents.order.understanding.grammar import Lexicon
from voice_gateway.agents.order.understanding.parse import parse

_MENU: Final = default_menu()
_LEXICON: Final = Lexicon(_MENU)


@dataclass(slots=True)
class Score:
    """Of `words` said, `errors` were wrong; of `orders`, `right` became what was ordered.

    `same` of them gave the agent the samples of the recording that lost nothing.
    """

    words: int = 0
    errors: int = 0
    orders: int = 0
    right: int = 0
    same: int = 0

    def add(self, text: str, understood: Understanding, complete: Understanding | None = None) -> None:
        """Count one more order, and whether it was understood as the `complete` recording."""
        said = text.split()
        wanted, _ = answer(Dialogue(_MENU), parse(said, _LEXICON))
        self.words += len(said)
        self.errors += distance(said, understood.words)
        self.orders += 1
        self.right += understood.items == wanted.to_state()["items"]
        self.same += understood == complete

    def figures(self) -> list[str]:
        """Both, for a table."""
        return [f"{self.errors / self.words:.1%}", f"{self.right} of {self.orders}"]


def total(scores: Iterable[Score]) -> Score:
    """All of them as one."""
    every = list(scores)
    return Score(*(sum(getattr(each, name) for each in every) for name in Score.__slots__))


def distance(said: list[str], recognised: list[str]) -> int:
    """The fewest words to leave out, put in or replace that turn one into the other."""
    row = list(range(len(recognised) + 1))
    for number, word in enumerate(said, 1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(recognised, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
    return row[-1]

"""Which words of a text are missing in another: aligned, in order, apart from case and punctuation. Sans-IO."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_WORD: Final = re.compile(r"[\w']+")


@dataclass(frozen=True, slots=True)
class Word:
    """A word that was said; `got` is what stands in its place, `None` where nothing does."""

    text: str
    got: str | None

    @property
    def is_right(self) -> bool:
        return self.got == self.text


def words_of(text: str) -> list[str]:
    """Return the words in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def align(said: list[str], recognised: list[str]) -> list[Word]:
    """Return each word said with what became of it, by the fewest changes (Levenshtein)."""
    rows, columns = len(said) + 1, len(recognised) + 1
    cost = [[row + column if not row * column else 0 for column in range(columns)] for row in range(rows)]
    for row in range(1, rows):
        for column in range(1, columns):
            is_same = said[row - 1] == recognised[column - 1]
            cost[row][column] = min(
                cost[row - 1][column - 1] + (not is_same), cost[row - 1][column] + 1, cost[row][column - 1] + 1
            )
    found: list[Word] = []
    row, column = rows - 1, columns - 1
    while row or column:
        is_same = row > 0 and column > 0 and said[row - 1] == recognised[column - 1]
        if row and column and cost[row][column] == cost[row - 1][column - 1] + (not is_same):
            row, column = row - 1, column - 1
            found.append(Word(said[row], recognised[column]))
        elif row and cost[row][column] == cost[row - 1][column] + 1:
            row -= 1
            found.append(Word(said[row], None))
        else:
            column -= 1
    return found[::-1]


def has_text(text: str, wanted: str) -> bool:
    """Whether the words of `wanted` stand in `text`, one after the other."""
    words, part = words_of(text), words_of(wanted)
    return any(words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1))


def lost(said: list[str], here: str, on_clean_link: str | None) -> list[str]:
    """Return the words that were understood on the clean link, or, without one, said, and are wrong here."""
    aligned = align(said, words_of(here))
    if on_clean_link is None:
        return [word.text for word in aligned if not word.is_right]
    clean = align(said, words_of(on_clean_link))
    return [word.text for word, was in zip(aligned, clean, strict=True) if was.is_right and not word.is_right]

"""What customers are likely to say, and how it sounds: a trigram model and a dictionary made from the menu."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Final

from voice_gateway.agents.order.menu import Menu, MenuError, spoken
from voice_gateway.agents.order.understanding.grammar import (
    NUMBERS,
    OFF_MENU,
    PLACES,
    SAYINGS,
    WISHES,
    Kind,
    Lexicon,
    plural,
    singulars,
)

SENTENCES: Final = 30_000
_SELDOM_TIMES: Final = 4

_START: Final = "<s>"
_END: Final = "</s>"
_DISCOUNT: Final = 0.4
_LOG_ZERO: Final = -99.0

Grams = Mapping[tuple[str, ...], float]


class LanguageModel:
    """Trigrams with interpolated absolute discounting; `arpa` writes them the way every recogniser reads them."""

    def __init__(self, sentences: Iterable[Sequence[str]]) -> None:
        counts: list[Counter[tuple[str, ...]]] = [Counter(), Counter(), Counter()]
        for sentence in sentences:
            words = (_START, *sentence, _END)
            for order in (1, 2, 3):
                counts[order - 1].update(tuple(words[at : at + order]) for at in range(len(words) - order + 1))
        self._probability: dict[tuple[str, ...], float] = {}
        self._backoff: dict[tuple[str, ...], float] = {}
        del counts[0][(_START,)]
        for grams in counts:
            self._add_order(grams)

    def _add_order(self, grams: Counter[tuple[str, ...]]) -> None:
        total: Counter[tuple[str, ...]] = Counter()
        followers: Counter[tuple[str, ...]] = Counter()
        for gram, count in grams.items():
            total[gram[:-1]] += count
            followers[gram[:-1]] += 1
        for history in total:
            self._backoff[history] = _DISCOUNT * followers[history] / total[history]
        for gram, count in grams.items():
            history = gram[:-1]
            lower = self._probability.get(gram[1:], 0.0) if history else 1 / len(grams)
            self._probability[gram] = (count - _DISCOUNT) / total[history] + self._backoff[history] * lower

    def log10(self, word: str, history: Sequence[str]) -> float:
        """Return the logarithm of a word's probability behind up to two others; `_LOG_ZERO` for an unknown word."""
        context = tuple(history[-2:])
        gram = (*context, word)
        if gram in self._probability:
            return math.log10(self._probability[gram])
        if not context:
            return _LOG_ZERO
        return math.log10(self._backoff.get(context, 1.0)) + self.log10(word, context[1:])

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> float:
        """Return how many equally likely words would surprise as much, end of sentence included."""
        logarithm, words = 0.0, 0
        for sentence in sentences:
            history = [_START]
            for word in (*sentence, _END):
                logarithm += self.log10(word, history)
                history.append(word)
                words += 1
        return float(10 ** (-logarithm / words))

    def arpa(self) -> str:
        """Return the model in the ARPA format."""
        orders: list[list[tuple[str, ...]]] = [[(_START,)], [], []]
        for gram in sorted(self._probability):
            orders[len(gram) - 1].append(gram)
        lines = ["\\data\\", *(f"ngram {n}={len(grams)}" for n, grams in enumerate(orders, start=1))]
        for n, grams in enumerate(orders, start=1):
            lines += ["", f"\\{n}-grams:", *(self._line(gram) for gram in grams)]
        return "\n".join((*lines, "", "\\end\\", ""))

    def _line(self, gram: tuple[str, ...]) -> str:
        probability = self._probability.get(gram)
        text = f"{_LOG_ZERO if probability is None else math.log10(probability):.4f} {' '.join(gram)}"
        backoff = self._backoff.get(gram)
        return text if backoff is None else f"{text} {math.log10(backoff):.4f}"


def sentences(menu: Menu, rng: Random, count: int = SENTENCES) -> Iterator[tuple[str, ...]]:
    """Make up what customers of this menu say, and every phrase of the lexicon at least once."""
    speaker = _Speaker(menu, rng)
    for _ in range(count):
        yield tuple(" ".join(speaker.utterance()).split())
    for sentence in _seldom(menu):
        yield from [tuple(sentence.split())] * _SELDOM_TIMES
    yield from Lexicon(menu).phrases


def _seldom(menu: Menu) -> Iterator[str]:
    """Yield what few customers say, and the agent understands."""
    for size in menu.size:
        yield from (f"a {size.name} instead of the {each.name} one" for each in menu.size if each is not size)
        yield f"make it a {size.name} instead"
        yield f"change the {size.name} one"
    for topping in menu.topping:
        yield from (f"with extra {topping.name}", f"add extra {topping.name}")
    yield from ("what do i have so far", "what's the total so far", "that is all thank you", "that's all thank you")
    yield from (f"can i have a {name}" for name in OFF_MENU)


def dictionary(menu: Menu, entries: Iterable[str]) -> str:
    """Return a pronunciation for every word of the menu's lexicon, from a CMU dictionary's lines and the menu's own.

    A plural that neither knows is its singular and a sibilant. Raises `MenuError` where that gives none.
    """
    wanted = Lexicon(menu).vocabulary
    wanted_or_singular = wanted | {singular for word in wanted for singular in singulars(word)}
    known: defaultdict[str, list[str]] = defaultdict(list)
    for entry in entries:
        head, _, phones = entry.strip().partition(" ")
        word = head.partition("(")[0]
        if word in wanted_or_singular:
            known[word].append(phones.strip())
    known.update((word, list(variants)) for word, variants in menu.pronunciations.items())
    lines = []
    for word in sorted(wanted):
        variants: list[str] = known.get(word) or next(
            ([_with_sibilant(phones) for phones in known[each]] for each in singulars(word) if known.get(each)), []
        )
        if not variants:
            raise MenuError(f"menu: pronunciations.{word} is missing, and no dictionary knows the word")
        lines += [f"{word}{f'({n})' if n > 1 else ''} {phones}" for n, phones in enumerate(variants, start=1)]
    return "\n".join((*lines, ""))


def _with_sibilant(phones: str) -> str:
    last = phones.split()[-1]
    if last in {"S", "Z", "SH", "ZH", "CH", "JH"}:
        return f"{phones} IH Z"
    return f"{phones} {'S' if last in {'P', 'T', 'K', 'F', 'TH'} else 'Z'}"


class _Speaker:
    """Makes utterances of the grammar, the common ones often."""

    def __init__(self, menu: Menu, rng: Random) -> None:
        self._rng = rng
        self._said = {
            table: [p for (t, _), ps in spoken(menu).items() if t == table for p in ps]
            for table in ("size", *_MODIFIERS)
        }
        self._drinks = [(drink.name, *drink.also) for drink in menu.drink]

    def utterance(self) -> list[str]:
        if self._chance(0.22):
            return self._wish()
        parts = ["hi"] if self._chance(0.04) else []
        makers = (self._order, self._change, self._remove, self._latest)
        first = self._rng.choices(makers, (60, 18, 10, 16))[0]
        parts += first()
        while self._chance(0.3):
            parts += ["and"] if self._chance(0.8) else []
            parts += self._rng.choices(makers, (80, 8, 4, 8))[0]()
        return parts + (["please"] if self._chance(0.12) else [])

    def _wish(self) -> list[str]:
        return [self._rng.choice(WISHES[self._rng.choice(list(WISHES))])] + (["please"] if self._chance(0.1) else [])

    def _order(self) -> list[str]:
        parts = [self._rng.choice(SAYINGS[Kind.ADD])] if self._chance(0.5) else []
        is_plural = self._chance(0.12)
        if is_plural:
            parts.append(self._rng.choices((*NUMBERS[1:], "a couple of"), (20, 10, 6, 4, 3, 2, 2, 2, 2, 4))[0])
        elif self._chance(0.6):
            parts.append(self._rng.choices(("a", "one", "another", "one more"), (80, 8, 6, 4))[0])
        parts += [self._say("size")] if self._chance(0.55) else []
        parts += [self._modifier(("milk", "sugar", "ice"))] if self._chance(0.12) else []
        parts.append(plural(self._drink()) if is_plural else self._drink())
        return parts + self._modifiers(0.55)

    def _change(self) -> list[str]:
        verb, target = self._rng.choice(SAYINGS[Kind.CHANGE]), self._target()
        if self._chance(0.15):
            return [verb, "the", self._rng.choice(("size", "milk", "sugar", "ice")), "to", self._modifier(_MODIFIERS)]
        if self._chance(0.1):
            return [verb, target, "to", "a", self._drink()]
        if self._chance(0.12):
            return [verb, self._rng.choice(("it", "that")), self._rng.choice(NUMBERS[:4])]
        joint = self._rng.choices(("", "to", "with", "a"), (25, 50, 15, 8))[0]
        return [verb, target, joint, self._say("size") if joint == "a" else self._modifier(_MODIFIERS)]

    def _remove(self) -> list[str]:
        verb = self._rng.choice(SAYINGS[Kind.REMOVE])
        if self._chance(0.3):
            topping = self._say("topping")
            return [verb, "the", topping] + (["from", self._target()] if self._chance(0.3) else [])
        return [verb, self._target()]

    def _latest(self) -> list[str]:
        if self._chance(0.2):
            return ["add", self._say("topping")] + (["to", self._target()] if self._chance(0.4) else [])
        if self._chance(0.15):
            return ["can i get that with", self._modifier(_MODIFIERS)]
        return [self._say("size")] if self._chance(0.3) else self._modifiers(1.0)

    def _modifiers(self, chance: float) -> list[str]:
        parts: list[str] = []
        for table in self._rng.sample(_MODIFIERS, len(_MODIFIERS)):
            if not self._chance(chance):
                break
            parts += [self._rng.choices(("", "with", "and", "and with"), (50, 35, 12, 3))[0], self._modifier((table,))]
            chance = 0.45
        return parts

    def _modifier(self, tables: Sequence[str]) -> str:
        table = self._rng.choice(tables)
        no = "no " if table == "topping" and self._chance(0.15) else ""
        return no + self._say(table)

    def _target(self) -> str:
        return self._rng.choices(
            ("it", "that", f"the {self._drink()}", f"the {self._rng.choice(list(PLACES))} one"), (40, 15, 35, 12)
        )[0]

    def _drink(self) -> str:
        names = self._rng.choice(self._drinks)
        return names[0] if self._chance(0.7) else self._rng.choice(names)

    def _say(self, table: str) -> str:
        return self._rng.choice(self._said[table])

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability


_MODIFIERS: Final = ("milk", "sugar", "ice", "topping")

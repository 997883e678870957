"""The language model's sums, its sanity, and the dictionary's completeness."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from voice_gateway.agents.order.hearing.language_model import LanguageModel, dictionary, sentences
from voice_gateway.agents.order.menu import Menu, MenuError, default_menu
from voice_gateway.agents.order.understanding.grammar import Lexicon, plural, singulars
from voice_gateway.agents.order.understanding.parse import parse


@pytest.fixture(scope="module")
def menu() -> Menu:
    return default_menu()


@pytest.fixture(scope="module")
def model(menu: Menu) -> LanguageModel:
    return LanguageModel(sentences(menu, Random(1), count=4_000))


@pytest.mark.parametrize("history", [(), ("<s>",), ("large", "taro"), ("sugar", "large"), ("nonsense", "milk")])
def test_the_probabilities_of_all_words_sum_to_one(model: LanguageModel, menu: Menu, history: tuple[str, ...]) -> None:
    words = (*Lexicon(menu).vocabulary, "</s>")
    assert sum(10 ** model.log10(word, history) for word in words) == pytest.approx(1.0)


def test_orders_surprise_less_than_the_same_words_shuffled(model: LanguageModel) -> None:
    spoken = "large taro milk tea oat milk seventy five percent sugar and add a matcha latte"
    order = spoken.split()
    shuffled = Random(2).sample(order, len(order))
    assert model.perplexity([order]) < 12
    assert model.perplexity([shuffled]) > 10 * model.perplexity([order])


def test_unseen_orders_are_about_as_likely_as_seen_ones(model: LanguageModel, menu: Menu) -> None:
    unseen = list(sentences(menu, Random(99), count=500))[:500]
    assert model.perplexity(unseen) < 15


def test_most_of_what_the_model_expects_is_understood(menu: Menu) -> None:
    lexicon = Lexicon(menu)
    made = list(sentences(menu, Random(3), count=1_000))[:1_000]
    assert sum(parse(sentence, lexicon) is not None for sentence in made) > 950


def test_the_arpa_file_counts_its_grams(model: LanguageModel, menu: Menu) -> None:
    lines = model.arpa().splitlines()
    assert lines[0] == "\\data\\"
    assert lines[-1] == "\\end\\"
    announced = {line.split("=")[0][-1]: int(line.split("=")[1]) for line in lines[1:4]}
    for order in "123":
        start = lines.index(f"\\{order}-grams:") + 1
        assert lines[start : start + announced[order] + 1].index("") == announced[order]
    assert announced["1"] == len(Lexicon(menu).vocabulary) + 2


def test_the_same_seed_makes_the_same_model(menu: Menu) -> None:
    first, second = (list(sentences(menu, Random(7), count=50)) for _ in range(2))
    assert first == second


def test_a_plural_is_pronounced_from_its_singular(menu: Menu) -> None:
    known = [f"{word} T IY" for word in Lexicon(menu).vocabulary if word not in ("lattes", "chais")]
    lines = dictionary(menu, known).splitlines()
    assert "lattes T IY Z" in lines
    assert "matcha(2) M AH CH AH" in lines
    assert {line.split()[0].partition("(")[0] for line in lines} == Lexicon(menu).vocabulary


def test_a_word_without_pronunciation_is_named(menu: Menu) -> None:
    known = [f"{word} T IY" for word in Lexicon(menu).vocabulary if word != "honeydew"]
    with pytest.raises(MenuError, match=r"pronunciations\.honeydew is missing"):
        dictionary(menu, known)


@pytest.mark.parametrize(
    ("phrase", "plural_phrase"),
    [
        ("taro milk tea", "taro milk teas"),
        ("mango slush", "mango slushes"),
        ("mango slushes", "mango slushes"),
        ("milk teas", "milk teas"),
        ("lychee fizz", "lychee fizzes"),
        ("blueberry", "blueberries"),
        ("chai", "chais"),
        ("soy", "soys"),
        ("glass", "glasses"),
        ("tiramisu", "tiramisus"),
    ],
)
def test_a_plural_is_formed_once(phrase: str, plural_phrase: str) -> None:
    assert plural(phrase) == plural_phrase
    assert plural(plural_phrase) == plural_phrase
    last, plural_last = phrase.split()[-1], plural_phrase.split()[-1]
    assert last == plural_last or last in singulars(plural_last)


def test_a_menu_that_lists_plurals_needs_no_pronunciation_of_their_plurals(menu: Menu) -> None:
    drink = msgspec.structs.replace(menu.drink[0], name="mango slush", also=("mango slushes", "slushes"))
    offered = msgspec.structs.replace(menu, drink=(drink, *menu.drink))
    known = [f"{word} T IY" for word in Lexicon(menu).vocabulary] + ["slush S L AH SH"]
    lines = dictionary(offered, known).splitlines()
    assert "slushes S L AH SH IH Z" in lines
    assert not any("slusheses" in line for line in lines)

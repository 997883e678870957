"""Whole conversations as text: what the customer says, what the clerk answers, what is on the order then."""

from __future__ import annotations

import pytest

from tests.unit.voice_gateway.agents.order.test_menu import SMALL
from voice_gateway.agents.order.dialogue import NOT_UNDERSTOOD, Dialogue, answer, greeting, restored, where_it_stands
from voice_gateway.agents.order.menu import Menu, default_menu, parse_menu
from voice_gateway.agents.order.order import MAX_ITEMS, Status
from voice_gateway.agents.order.understanding.grammar import Lexicon
from voice_gateway.agents.order.understanding.parse import parse

MENU = default_menu()


def converse(*sentences: str, menu: Menu = MENU, dialogue: Dialogue | None = None) -> tuple[Dialogue, list[str]]:
    dialogue = dialogue or Dialogue(menu)
    answers = []
    for sentence in sentences:
        dialogue, text = answer(dialogue, parse(sentence.split(), Lexicon(menu)))
        answers.append(text)
    return dialogue, answers


def drinks(dialogue: Dialogue) -> list[tuple[int, str | None, str]]:
    return [(item.quantity, item.size, item.drink) for item in dialogue.order.items]


def test_the_callers_order() -> None:
    dialogue, answers = converse("large taro milk tea oat milk seventy five percent sugar and add a matcha latte")
    assert drinks(dialogue) == [(1, "large", "taro milk tea"), (1, "medium", "matcha latte")]
    assert answers == [
        "One large taro milk tea with oat milk and 75 percent sugar. One medium matcha latte. Anything else?"
    ]


def test_from_greeting_to_placed_order() -> None:
    assert greeting(Dialogue(MENU)) == "Hi, welcome to Leaf and Pearl! What can I get you?"
    dialogue, answers = converse(
        "two small jasmine green teas with no ice and boba", "make it large", "what's the total", "that's all", "yes"
    )
    assert answers == [
        "Two small jasmine green teas with no ice and boba. Anything else?",
        "Okay, two large jasmine green teas with no ice and boba. Anything else?",
        "That is $11.50. Anything else?",
        "You have two large jasmine green teas with no ice and boba. That is $11.50. Shall I place the order?",
        "Thank you! Your order is placed, that is $11.50.",
    ]
    assert dialogue.order.status is Status.CONFIRMED


def test_what_is_off_the_menu_is_asked_about_by_name() -> None:
    dialogue, answers = converse("can i have a coffee", "a hot taro then", "and two lemonades", "a matcha and a coffee")
    assert answers == [
        "Sorry, coffee is not on our menu. What would you like instead?",
        "One medium hot taro milk tea. Anything else?",
        "Sorry, lemonade is not on our menu. What would you like instead?",
        "One medium matcha latte. Sorry, coffee is not on our menu. What would you like instead?",
    ]
    assert drinks(dialogue) == [(1, "medium", "taro milk tea"), (1, "medium", "matcha latte")]


def test_one_size_in_place_of_another_is_of_the_drink_that_has_it() -> None:
    dialogue, answers = converse(
        "a large taro and a small matcha",
        "a medium instead of the large one",
        "a large instead of the large one",
        "remove the small one",
    )
    assert answers[1:] == [
        "Okay, one medium taro milk tea. Anything else?",
        "I do not see that one on your order. Anything else?",
        "I took off the matcha latte. Anything else?",
    ]
    assert drinks(dialogue) == [(1, "medium", "taro milk tea")]


def test_a_size_that_has_no_default_is_asked_for() -> None:
    dialogue, answers = converse("a green tea", "that's all", "yes", "large", "that's all", menu=parse_menu(SMALL))
    question = "What size green tea would you like: small or large?"
    assert answers[0] == f"One green tea. {question}"
    assert answers[1:3] == [question, question]
    assert answers[3] == "Okay, one large green tea. Anything else?"
    assert answers[4].endswith("Shall I place the order?")
    assert dialogue.order.status is Status.OPEN


def test_two_missing_sizes_are_asked_for_one_by_one() -> None:
    dialogue, answers = converse("a green tea and two green teas", "small", "large", menu=parse_menu(SMALL))
    assert drinks(dialogue) == [(1, "small", "green tea"), (2, "large", "green tea")]
    assert "What size" in answers[1]
    assert "Anything else?" in answers[2]


@pytest.mark.parametrize("words", ["yes", "no", "no thanks"])
def test_yes_and_no_place_nothing_unasked(words: str) -> None:
    dialogue, _ = converse("a taro", words)
    assert dialogue.order.status is Status.OPEN


def test_nothing_more_leads_to_the_read_back() -> None:
    _, answers = converse("a taro", "no thanks")
    assert answers[1] == "You have one medium taro milk tea. That is $5.50. Shall I place the order?"


def test_no_to_the_read_back_leads_to_a_change() -> None:
    dialogue, answers = converse("a taro", "that's all", "no", "make it small", "that's all", "yes")
    assert answers[2] == "What should I change?"
    assert drinks(dialogue) == [(1, "small", "taro milk tea")]
    assert dialogue.order.status is Status.CONFIRMED


def test_no_with_a_correction_changes_at_once() -> None:
    dialogue, answers = converse("a taro", "that's all", "no make it small")
    assert answers[2] == "Okay, one small taro milk tea. Anything else?"
    assert drinks(dialogue) == [(1, "small", "taro milk tea")]


def test_changes_find_their_item() -> None:
    dialogue, _ = converse(
        "a taro and a matcha and a chai latte", "make the first one large", "add boba to the matcha", "remove that"
    )
    assert drinks(dialogue) == [(1, "large", "taro milk tea"), (1, "medium", "chai latte")]


@pytest.mark.parametrize(
    ("sentence", "reply"),
    [
        ("remove the matcha latte", "There is no matcha latte on your order. Anything else?"),
        ("remove the fourth one", "I do not see that one on your order. Anything else?"),
    ],
)
def test_what_is_not_there_cannot_be_changed(sentence: str, reply: str) -> None:
    dialogue, answers = converse("a taro", sentence)
    assert answers[1] == reply
    assert len(dialogue.order.items) == 1


@pytest.mark.parametrize(
    "sentence", ["that's all", "place the order", "remove it", "make it large", "what's the total"]
)
def test_an_empty_order_stays_empty(sentence: str) -> None:
    dialogue, answers = converse(sentence)
    assert answers == ["Your order is empty so far. What can I get you?"]
    assert dialogue.order == Dialogue(MENU).order


def test_what_is_not_understood_changes_nothing_and_is_asked_again() -> None:
    dialogue, answers = converse("a taro", "the cheese", "taro with", "a chai latte", "the")
    assert [answers[1], answers[4]] == [NOT_UNDERSTOOD, NOT_UNDERSTOOD]
    assert answers[2] == (
        f"{NOT_UNDERSTOOD} You can say, for example: a large taro milk tea with seventy five percent sugar."
    )
    assert drinks(dialogue) == [(1, "medium", "taro milk tea"), (1, "medium", "chai latte")]


def test_an_order_may_be_given_up() -> None:
    dialogue, answers = converse("a taro", "start over")
    assert answers[1] == "All right, I cleared your order. What can I get you?"
    assert dialogue.order.items == ()


def test_after_a_placed_order_comes_a_new_one() -> None:
    dialogue, _ = converse("a taro", "place the order", "a matcha")
    assert drinks(dialogue) == [(1, "medium", "matcha latte")]
    assert dialogue.order.status is Status.OPEN


@pytest.mark.parametrize("words", ["yes", "no", "that's all", "place the order"])
def test_a_placed_order_is_not_placed_again(words: str) -> None:
    dialogue, answers = converse("a taro", "place the order", words)
    assert answers[2] == "Your order is placed. See you soon!"
    assert dialogue.order.status is Status.CONFIRMED


def test_an_order_has_an_end() -> None:
    dialogue, answers = converse(*["a taro"] * (MAX_ITEMS + 1))
    assert len(dialogue.order.items) == MAX_ITEMS
    assert f"{MAX_ITEMS} lines" in answers[-1]


def test_help_names_drinks() -> None:
    _, answers = converse("what do you have")
    assert "taro milk tea" in answers[0]


@pytest.mark.parametrize("said", [["a taro"], ["a taro", "that's all"], ["a taro", "that's all", "yes"], []])
def test_a_conversation_goes_on_from_its_state(said: list[str]) -> None:
    dialogue, _ = converse(*said)
    again = restored(MENU, dialogue.to_state())
    for sentence in ("yes", "make it large", "a matcha", "that's all", "yes"):
        dialogue, expected = answer(dialogue, parse(sentence.split(), Lexicon(MENU)))
        again, made = answer(again, parse(sentence.split(), Lexicon(MENU)))
        assert made == expected
    assert again.to_state() == dialogue.to_state()


def test_a_returning_caller_is_told_the_order() -> None:
    dialogue, _ = converse("a taro")
    assert greeting(restored(MENU, dialogue.to_state())) == (
        "Welcome back. You have one medium taro milk tea. That is $5.50."
    )


@pytest.mark.parametrize(
    ("said", "stands"),
    [
        ((), "Sorry, we were cut off. What can I get you?"),
        (("a large taro milk tea",), "You have one large taro milk tea. That is $6.00. What did you say last?"),
        (("a large taro milk tea", "that is all"), "Shall I place the order?"),
        (("a large taro milk tea", "place the order"), "Your order is placed. See you soon!"),
    ],
)
def test_a_customer_who_was_cut_off_hears_where_the_order_stands(said, stands):
    dialogue, _ = converse(*said)
    said = where_it_stands(restored(MENU, dialogue.to_state()))
    assert said.startswith("Sorry, we were cut off.")
    assert stands in said

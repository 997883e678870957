from __future__ import annotations

from bench.survival.script import CountedWords, SpokenOrder
from deploy.local.assertions import expected_order

WORDS = CountedWords(words=5, every_s=3.0, event_at_s=2.0)


def test_an_order_without_items_lost_every_word():
    assert SpokenOrder().words_lost({}) == 7
    assert not SpokenOrder().is_in_order({})


def test_a_complete_order_lost_none_whatever_else_it_says():
    items = [item | {"price": 1} for item in expected_order()]
    assert SpokenOrder().words_lost({"items": items}) == 0
    assert SpokenOrder().is_in_order({"items": items})


def test_an_order_in_another_order_or_with_too_much_is_not_kept():
    items = expected_order()
    assert not SpokenOrder().is_in_order({"items": items[::-1]})
    assert not SpokenOrder().is_in_order({"items": [*items, items[0]]})


def test_one_wrong_thing_is_one_word():
    first, second = expected_order()
    state = {"items": [first | {"milk": "soy"}, second]}
    assert SpokenOrder().words_lost(state) == 1


def test_counted_words_must_be_neither_more_nor_fewer():
    assert [WORDS.words_lost({"utterances": count}) for count in (3, 5, 6)] == [2, 0, 0]
    assert [WORDS.is_in_order({"utterances": count}) for count in (3, 5, 6)] == [False, True, False]
    assert WORDS.words_lost({}) == 5

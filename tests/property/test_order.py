"""For any words the dialogue raises no error and the total is the sum of the items."""

from __future__ import annotations

from decimal import Decimal
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.agents.order.dialogue import Dialogue, answer, restored
from voice_gateway.agents.order.menu import default_menu
from voice_gateway.agents.order.understanding.grammar import Lexicon
from voice_gateway.agents.order.understanding.parse import parse

MENU = default_menu()
LEXICON = Lexicon(MENU)
PHRASES = st.sampled_from(sorted(LEXICON.phrases)).map(list)
WORDS = st.lists(st.one_of(st.sampled_from(sorted(LEXICON.vocabulary)), st.text(max_size=8)), max_size=20)
SENTENCES = st.one_of(WORDS, st.lists(PHRASES, max_size=8).map(lambda phrases: list(chain(*phrases))))


@given(SENTENCES)
def test_parsing_never_raises_and_an_unknown_word_spoils_everything(words: list[str]) -> None:
    intents = parse(words, LEXICON)
    if any(word not in LEXICON.vocabulary for word in words):
        assert intents is None


@given(st.lists(SENTENCES, max_size=8))
def test_the_total_is_the_sum_of_the_lines(conversation: list[list[str]]) -> None:
    dialogue = Dialogue(MENU)
    for words in conversation:
        before = dialogue.order
        intents = parse(words, LEXICON)
        dialogue, text = answer(dialogue, intents)
        assert text or dialogue.order.items == before.items
        state = dialogue.to_state()
        assert Decimal(state["total"]) == sum((Decimal(item["price"]) for item in state["items"]), Decimal(0))
        assert len({item["id"] for item in state["items"]}) == len(state["items"])
        assert restored(MENU, state).to_state() == state
        if intents is None:
            assert dialogue.order == before

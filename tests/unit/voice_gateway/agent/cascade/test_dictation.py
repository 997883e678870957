"""The default speech to text, with its own models."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.recordings import recording
from voice_gateway.agent.cascade.dictation import Dictation
from voice_gateway.errors import AgentError


async def test_two_callers_are_understood_at_once_and_an_abandoned_one_is_not_heard_of() -> None:
    dictation = Dictation()
    await dictation.open()
    try:
        said: dict[str, str] = {}
        both = asyncio.Event()

        def take(name: str, words: tuple[str, ...] | AgentError) -> None:
            assert not isinstance(words, AgentError)
            said[name] = " ".join(words)
            if len(said) == 2:
                both.set()

        first = dictation.begin(lambda words, is_final: take("first", words))
        second = dictation.begin(lambda words, is_final: take("second", words))
        third = dictation.begin(lambda words, is_final: take("third", words))
        for utterance in (first, second, third):
            utterance.feed(recording("slt_done"))
        third.abandon()
        first.end()
        second.end()
        await asyncio.wait_for(both.wait(), 60)
        assert said == {"first": "that's all", "second": "that's all"}
    finally:
        await dictation.close()


async def test_before_it_is_open_it_refuses() -> None:
    with pytest.raises(AgentError, match="the recogniser is not open"):
        Dictation().begin(lambda words, is_final: None)

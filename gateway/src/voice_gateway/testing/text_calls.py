"""Holds a call with a `CallAgent` in text, for its tests: nothing is recognised or spoken, and no model is loaded.

async with text_call(Waiter()) as caller:
    assert await caller.greeting() == "Hi, what can I get you?"
    assert await caller.say("a taro") == "I have a taro. Anything else?"
    assert caller.state == {"items": ["a taro"]}
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from voice_gateway.agent.base import FinalTranscript, HangUp, Reply, StateChanged
from voice_gateway.agent.call.agent import CallAgent, as_agent
from voice_gateway.agent.call.conversation import CallConversation
from voice_gateway.agent.cascade.parts import OnWords, Utterance
from voice_gateway.testing.agents import Caller

_VOICE: Final = b"\x00\x40" * 16_000
_PAUSE: Final = bytes(3 * 32_000)
_SPOKEN: Final = bytes(960)


class TextCaller:
    """The caller's side: says whole turns, and gets what the agent answers as text."""

    def __init__(self, caller: Caller, words: _Words) -> None:
        self._caller = caller
        self._words = words
        self._taken = 0

    async def greeting(self) -> str:
        """Let the call begin, and return what the agent says before the first turn."""
        self._caller.conversation.greet()
        return await self._answer()

    async def say(self, text: str) -> str:
        """Say something, and return all that the agent answers."""
        self._words.meant = tuple(text.split())
        await self._caller.say(_VOICE + _PAUSE)
        return await self._answer()

    async def press(self, digit: str) -> str:
        """Press a key of the telephone, and return all that the agent answers."""
        self._caller.conversation.pressed(digit)
        return await self._answer()

    @property
    def state(self) -> dict[str, Any]:
        """The state, as it was saved last."""
        states = [each.state for each in self._caller.of(StateChanged, FinalTranscript) if each.state is not None]
        return dict(states[-1]) if states else {}

    @property
    def has_hung_up(self) -> bool:
        """Whether the agent has ended the call."""
        return bool(self._caller.of(HangUp))

    async def _answer(self) -> str:
        await self._caller.finish()
        conversation = self._caller.conversation
        assert isinstance(conversation, CallConversation)
        if conversation.task.done():
            conversation.task.result()  # raises what the agent raised
        replies = [each.text for each in self._caller.of(Reply)]
        new, self._taken = replies[self._taken :], len(replies)
        return " ".join(new)


@asynccontextmanager
async def text_call(agent: CallAgent, *, timeout_s: float = 20.0) -> AsyncIterator[TextCaller]:
    """Open the agent and call it; fails where the agent fails, or where an answer takes longer than `timeout_s`.

    Its parts for speech are replaced, the rest of its options are its own.
    """
    words = _Words()
    agent.options = replace(
        agent.options,
        recogniser=lambda: words,
        voices=_Loudness,
        speech=_Silence,
        synthesiser=None,
        end_of_turn=None,
        is_inline=True,
    )
    made = as_agent(agent)
    try:
        await made.open()
        yield TextCaller(Caller(made, timeout_s), words)
    finally:
        await made.close()


class _Words:
    """A recogniser that understands what the caller means."""

    meant: tuple[str, ...] = ()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def begin(self, on_words: OnWords) -> Utterance:
        return _Meant(self.meant, on_words)


class _Meant:
    def __init__(self, meant: tuple[str, ...], on_words: OnWords) -> None:
        self._meant = meant
        self._on_words = on_words

    def feed(self, pcm: bytes) -> None: ...

    def end(self) -> None:
        self._on_words(self._meant, True)

    def abandon(self) -> None: ...


class _Loudness:
    """Takes any sample but zero for speech."""

    rate_hz = 16_000

    def detector(self) -> _Loudness:
        return self

    def probability(self, pcm: bytes) -> float:
        return float(any(pcm))


class _Silence:
    def synthesize(self, text: str) -> Iterator[bytes]:
        yield _SPOKEN

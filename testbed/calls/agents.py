"""The real order agent for simulations, and one that notes which frames reached it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from voice_gateway.agent.base import (
    Agent,
    AppMessage,
    ClientToolResult,
    Conversation,
    Emit,
    PlaybackFinished,
    SessionView,
    UserAudio,
    UserText,
)
from voice_gateway.agent.call import as_agent
from voice_gateway.agent.cascade.parts import OnWords, Utterance
from voice_gateway.agents.order import agent as order_agent
from voice_gateway.agents.order.agent import OrderAgent
from voice_gateway.agents.order.hearing.recogniser import InlineRecogniser
from voice_gateway.agents.order.menu import default_menu
from voice_gateway.errors import AgentError
from voicelink.audio.speech import CachedSpeech, HibariSpeech
from voicelink.audio.vad import SileroModel


class NotingAgent(Agent):
    """Passes everything to `inner`, and keeps the frames of each conversation in `received`."""

    def __init__(self, inner: Agent) -> None:
        self.name = inner.name
        self.input_rate_hz = inner.input_rate_hz
        self.output_rate_hz = inner.output_rate_hz
        self.audio_format = inner.audio_format
        self.received: list[list[UserAudio]] = []
        self._inner = inner

    async def open(self) -> None:
        await self._inner.open()

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        self.received.append([])
        return _NotingConversation(emit, self._inner.converse(emit, state), self.received[-1])

    async def close(self) -> None:
        await self._inner.close()


class _NotingConversation(Conversation):
    def __init__(self, emit: Emit, inner: Conversation, received: list[UserAudio]) -> None:
        super().__init__(emit)
        self._received = received
        self._inner = inner

    def opened(self, session: SessionView) -> None:
        self._inner.opened(session)

    def saved(self, checkpoint: int) -> None:
        self._inner.saved(checkpoint)

    def played(self, played_ms: int) -> None:
        self._inner.played(played_ms)

    def playback_finished(self, playback: PlaybackFinished) -> None:
        self._inner.playback_finished(playback)

    def greet(self) -> None:
        self._inner.greet()

    def greet_again(self) -> None:
        self._inner.greet_again()

    def pressed(self, digit: str) -> None:
        self._inner.pressed(digit)

    def text_received(self, text: UserText) -> None:
        self._inner.text_received(text)

    def app_message_received(self, message: AppMessage) -> None:
        self._inner.app_message_received(message)

    def client_tool_returned(self, result: ClientToolResult) -> None:
        self._inner.client_tool_returned(result)

    def say_again(self, text: str) -> None:
        self._inner.say_again(text)

    def interrupted(self, played_ms: int) -> None:
        self._inner.interrupted(played_ms)

    def finish(self) -> None:
        self._inner.finish()

    def close(self) -> None:
        self._inner.close()

    def hear(self, audio: UserAudio) -> None:
        self._received.append(audio)
        self._inner.hear(audio)


class Mute:
    """A voice that says nothing, for agents that only listen."""

    def synthesize(self, text: str) -> Iterator[bytes]:
        """Yield silence of no length."""
        yield b""


def noting_order_agent(_worker: str = "") -> NotingAgent:
    """The order agent with all its models, inline, whose networks remember what they were asked before."""
    return NotingAgent(inline_order_agent())


def inline_order_agent() -> Agent:
    """The order agent with all its models, which work within the calls and in the event loop's tasks."""
    return as_agent(OrderAgent(recogniser=_recogniser(), speech=_speech(), is_inline=True))


@contextmanager
def one_voice_detector() -> Iterator[None]:
    """Within it every order agent shares one network that remembers, instead of loading its own.

    All models are loaded here: within a simulation that would draw from its randomness, in the first one only.
    """
    _recogniser(), _speech(), _silero()
    with mock.patch.object(order_agent, "SileroModel", _silero):
        yield


class RememberingSilero(SileroModel):
    """Silero is a function of samples and state: what was asked before is not computed again."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: dict[bytes, tuple[float, NDArray[np.float32]]] = {}

    def run(self, samples: NDArray[np.float32], state: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        key = hashlib.blake2b(samples.tobytes() + state.tobytes(), digest_size=16).digest()
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = super().run(samples, state)
        return answer


class RememberingRecogniser(InlineRecogniser):
    """Recognition is a function of the pieces fed: a turn that begins as an earlier one did is not decoded again.

    The first byte that differs makes a decoder hear the turn from its beginning, so nothing is taken for granted.
    """

    def __init__(self) -> None:
        super().__init__(default_menu())
        self.answers: dict[bytes, list[tuple[tuple[str, ...] | AgentError, bool]]] = {}
        self.decoded_utterances = 0

    def begin(self, on_words: OnWords) -> Utterance:
        return _RememberingUtterance(self, on_words)

    def begin_decoding(self, on_words: OnWords) -> Utterance:
        self.decoded_utterances += 1
        return super().begin(on_words)

    async def open(self) -> None:
        """It is open before the first simulation: within one it would draw from its randomness."""

    async def close(self) -> None:
        """The next simulation uses it again."""


class _RememberingUtterance:
    def __init__(self, recogniser: RememberingRecogniser, on_words: OnWords) -> None:
        self._recogniser = recogniser
        self._on_words = on_words
        self._pieces: list[bytes] = []
        self._digest = hashlib.blake2b(digest_size=16)
        self._decoding: Utterance | None = None
        self._said: list[tuple[tuple[str, ...] | AgentError, bool]] = []

    def feed(self, pcm: bytes) -> None:
        self._digest.update(len(pcm).to_bytes(4, "big") + pcm)
        self._do(lambda utterance: utterance.feed(pcm))
        self._pieces.append(pcm)

    def end(self) -> None:
        self._digest.update(b"end")
        self._do(lambda utterance: utterance.end())

    def abandon(self) -> None:
        if self._decoding is not None:
            self._decoding.abandon()

    def _do(self, step: Callable[[Utterance], None]) -> None:
        key = self._digest.digest()
        said = self._recogniser.answers.get(key) if self._decoding is None else None
        if said is None:
            utterance = self._decoding or self._caught_up()
            self._said = []
            step(utterance)
            said = self._recogniser.answers[key] = self._said
        for words, is_final in said:
            self._on_words(words, is_final)

    def _caught_up(self) -> Utterance:
        self._decoding = self._recogniser.begin_decoding(lambda words, is_final: self._said.append((words, is_final)))
        for piece in self._pieces:
            self._decoding.feed(piece)
        return self._decoding


@lru_cache(1)
def _recogniser() -> RememberingRecogniser:
    recogniser = RememberingRecogniser()
    asyncio.run(InlineRecogniser.open(recogniser))
    return recogniser


@lru_cache(1)
def _speech() -> CachedSpeech:
    return CachedSpeech(HibariSpeech())


@lru_cache(1)
def _silero() -> RememberingSilero:
    return RememberingSilero()

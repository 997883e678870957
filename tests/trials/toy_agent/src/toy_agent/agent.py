"""An agent that counts utterances, and answers each utterance with as many beeps."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Field

from voice_gateway.agent.base import Agent, Conversation, Emit, Reply, ReplyAudio, ReplyEnded
from voice_gateway.agent.cascade.cascade import Cascade
from voice_gateway.agent.cascade.parts import Answer, DialoguePolicy, OnAnswer, OnWords, Utterance
from voicelink.audio.vad import EnergyVoiceActivity

RATE_HZ = 24_000


class ToySettings(BaseModel):
    """`[agent.settings]`."""

    greeting: str = "Beep with me."
    pitch_hz: int = Field(default=440, ge=100, le=2_000)


class ToyAgent(Agent):
    """A cascade of toys, none of which needs a model."""

    settings_model = ToySettings

    def __init__(self, settings: ToySettings) -> None:
        self.settings = settings
        self.cascade = Cascade(ToyRecogniser(), ToyVoices, lambda: Beeps(settings.pitch_hz))

    async def open(self) -> None:
        await self.cascade.open()

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        return self.cascade.converse(ToyPolicy(self.settings.greeting, int(state["count"]) if state else 0), emit)

    async def close(self) -> None:
        await self.cascade.close()


class ToyPolicy(DialoguePolicy):
    """Counts utterances."""

    def __init__(self, greeting: str, count: int) -> None:
        self._greeting = greeting
        self._count = count

    def greeting(self) -> str:
        return self._greeting

    def answer(self, words: tuple[str, ...], on_answer: OnAnswer) -> None:
        self._count += 1
        on_answer(Answer("beep " * self._count, {"kind": "toy", "count": self._count}))


class ToyVoices:
    """Takes what is loud for speech."""

    def detector(self) -> EnergyVoiceActivity:
        return EnergyVoiceActivity(16_000)


class ToyRecogniser:
    """Recognises how long an utterance was."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def begin(self, on_words: OnWords) -> Utterance:
        return ToyUtterance(on_words)


class ToyUtterance:
    """One utterance."""

    def __init__(self, on_words: OnWords) -> None:
        self._on_words = on_words
        self._length = 0

    def feed(self, pcm: bytes) -> None:
        self._length += len(pcm)

    def end(self) -> None:
        self._on_words((f"{self._length}", "bytes"), True)

    def abandon(self) -> None: ...


class Beeps:
    """Speech of one word."""

    def __init__(self, pitch_hz: int) -> None:
        beep = (8_000 * math.sin(2 * math.pi * pitch_hz * n / RATE_HZ) for n in range(RATE_HZ // 5))
        self._beep = array("h", map(round, beep)).tobytes() + bytes(RATE_HZ // 5)

    def synthesize(self, text: str) -> Iterator[bytes]:
        for _ in text.split():
            yield self._beep


class EchoOfKeys(Agent):
    """Without an entry point, and without speech: says each key that is pressed."""

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        return KeysConversation(emit)


class KeysConversation(Conversation):
    """Two methods are all it needs."""

    def pressed(self, digit: str) -> None:
        self.emit(Reply(digit))
        self.emit(ReplyAudio(bytes(RATE_HZ // 10)))
        self.emit(ReplyEnded())

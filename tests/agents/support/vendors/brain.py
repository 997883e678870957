"""What a local vendor server hears, thinks and says: recorded orders are recognised, answered and spoken as a tone.

The same words, tools and history always give the same answer. It counts the caller's sentences, of which those of
earlier sessions are in the history that the bridge replayed: a call that lost something counts less.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from voice_gateway.agent.base import (
    AgentEvent,
    PartialTranscript,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserAudio,
    UserStartedSpeaking,
)
from voice_gateway.agent.cascade.bandwidth import WidebandRecogniser
from voice_gateway.agent.cascade.cascade import Cascade
from voice_gateway.agent.cascade.parts import Answer, DialoguePolicy, OnAnswer, Recogniser
from voice_gateway.agents.order.hearing.recogniser import InlineRecogniser
from voice_gateway.agents.order.menu import default_menu
from voicelink.audio.speech import SPEECH_RATE_HZ
from voicelink.audio.vad import EnergyVoiceActivity

EAR_RATE_HZ: Final = 16_000
TOOL: Final = "take_order"
"""The tool that is called with the words of each sentence, where the client offers it."""
_MS_PER_CHARACTER: Final = 50
_FRAME_BYTES: Final = EAR_RATE_HZ // 50 * 2


class ToneSpeech:
    """A tone as long as the text would take."""

    def synthesize(self, text: str) -> Iterator[bytes]:
        """Yield PCM16 at 24 kHz."""
        time = np.arange(len(text) * _MS_PER_CHARACTER * SPEECH_RATE_HZ // 1000) / SPEECH_RATE_HZ
        yield (8_000 * np.sin(2 * np.pi * 440 * time)).astype("<i2").tobytes()


@asynccontextmanager
async def opened_ears(recogniser: Recogniser | None = None) -> AsyncIterator[Cascade]:
    """Load the recogniser that all sessions of a server share, by default the order agent's, which takes a second."""
    cascade = Cascade(
        recogniser or WidebandRecogniser(InlineRecogniser(default_menu())),
        lambda: _Voices(),
        lambda: ToneSpeech(),
        input_rate_hz=EAR_RATE_HZ,
        is_inline=True,
    )
    await cascade.open()
    yield cascade
    await cascade.close()


class _Voices:
    def detector(self) -> EnergyVoiceActivity:
        return EnergyVoiceActivity(EAR_RATE_HZ)


@dataclass(slots=True)
class Line:
    """What was said before, as the vendor knows it; `role` is "user" or "assistant"."""

    role: str
    text: str


@dataclass(slots=True)
class Thoughts:
    """What a session of the vendor tells its client.

    `on_speech` at each beginning of speech with whether it interrupts, `on_words` with a sentence, `on_answer` with the
    answer's text and PCM16 at 24 kHz. `call_tool` returns the client's result; it stays `None` without tools.
    """

    on_speech: Callable[[bool], None]
    on_words: Callable[[str], None]
    on_answer: Callable[[str, bytes], None]
    call_tool: Callable[[str, dict[str, str]], Awaitable[str]] | None = None
    history: list[Line] = field(default_factory=list)


class Brain(DialoguePolicy):
    """One conversation at the vendor."""

    def __init__(self, ears: Cascade, thoughts: Thoughts) -> None:
        self._thoughts = thoughts
        self._buffer = b""
        self._frames = 0
        self._heard_ms = 0.0
        self._speaks_until_ms = 0.0
        self._reply: tuple[str, list[bytes]] = ("", [])
        self._answering: set[asyncio.Task[None]] = set()
        self._conversation = ears.converse(self, self._take)

    def hear(self, pcm: bytes) -> None:
        """Take PCM16 at 16 kHz, of any length."""
        self._buffer += pcm
        while len(self._buffer) >= _FRAME_BYTES:
            frame, self._buffer = self._buffer[:_FRAME_BYTES], self._buffer[_FRAME_BYTES:]
            self._heard_ms += 20
            self._conversation.hear(UserAudio(self._frames, frame))
            self._frames += 1

    def say(self, text: str) -> None:
        """Say it without being asked, as a greeting is said."""
        self._conversation.say_again(text)

    def ask(self, text: str) -> None:
        """Take a sentence of the caller's as text, and answer it."""
        self._start(text, lambda answer: self.say("" if answer is None else answer.text))

    def close(self) -> None:
        """Stop thinking."""
        self._conversation.close()
        for task in self._answering:
            task.cancel()

    def answer(self, words: tuple[str, ...], on_answer: OnAnswer) -> None:
        if not words:
            on_answer(None)
            return
        text = " ".join(words)
        self._thoughts.on_words(text)
        self._start(text, on_answer)

    def _start(self, text: str, on_answer: OnAnswer) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(text, on_answer))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, text: str, on_answer: OnAnswer) -> None:
        history = self._thoughts.history
        history.append(Line("user", text))
        count = sum(line.role == "user" for line in history)
        if self._thoughts.call_tool is None:
            answer = f"Sentence {count}: {text}."
        else:
            answer = f"Sentence {count}: {await self._thoughts.call_tool(TOOL, {'words': text})}."
        on_answer(Answer(answer))

    def _take(self, event: AgentEvent) -> None:
        match event:
            case UserStartedSpeaking():
                is_interruption = self._heard_ms < self._speaks_until_ms
                self._speaks_until_ms = 0
                self._thoughts.on_speech(is_interruption)
            case Reply(text):
                self._reply = (text, [])
            case ReplyAudio(pcm):
                self._reply[1].append(pcm)
            case ReplyEnded():
                text, pieces = self._reply
                pcm = b"".join(pieces)
                self._speaks_until_ms = self._heard_ms + len(pcm) / 2 * 1000 / SPEECH_RATE_HZ
                self._thoughts.history.append(Line("assistant", text))
                self._thoughts.on_answer(text, pcm)
            case PartialTranscript() | _:
                pass

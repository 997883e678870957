"""Agents that end or block their own process at a chosen point.

The folder in the variable `HOSTS_BENCH` holds `die`, the point at which the next process ends and how many of its calls
are to be there by then, and gets `died`, `opened` and `effects`, one line each time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    Conversation,
    Emit,
    FinalTranscript,
    ReplyAudio,
    UserAudio,
    UserStartedSpeaking,
)
from voice_gateway.agent.call import Call, CallAgent, CallOptions
from voice_gateway.agent.call.agent import as_agent
from voice_gateway.agent.cascade.parts import OnWords, Utterance
from voice_gateway.agents.order.hearing.recogniser_process import ProcessRecogniser
from voice_gateway.agents.order.menu import default_menu
from voicelink.audio.speech import sentences
from voicelink.audio.vad import EnergyVoiceActivity

POINTS: Final = (
    "in_utterance",
    "before_understood",
    "after_understood",
    "after_intent",
    "after_effect",
    "after_result",
    "mid_reply",
)
_WHOLE_BYTES: Final = 58_000
"""An utterance of that recording, with the pause that ends it."""
_PATIENCE_S: Final = 10.0
"""So long after the first call the process ends in any case."""
_SENT_S: Final = 0.01
"""After so long what was emitted has left the process."""


def folder() -> Path:
    """Return where the files of this trial are."""
    return Path(os.environ["HOSTS_BENCH"])


def note(name: str, text: str = "") -> None:
    """Write one line with the time."""
    with (folder() / name).open("a") as file:
        file.write(f"{time.time():.6f} {os.getpid()} {text}\n")


_reached: set[int] = set()
"""The calls that are at the point."""


def reach(point: str, call: int) -> bool:
    """Return whether the call waits here, where its process ends: at once, once all calls are here."""
    wanted = folder() / "die"
    name, _, count = wanted.read_text().partition(" ") if wanted.exists() else ("", "", "")
    if name != point:
        return False
    if not _reached:
        asyncio.get_running_loop().call_later(_PATIENCE_S, _end, point)
    _reached.add(call)
    if len(_reached) == int(count):
        _end(point)
    return True


def _end(point: str) -> None:
    (folder() / "die").unlink()
    note("died", f"{point} {len(_reached)}")
    os.kill(os.getpid(), signal.SIGKILL)


async def pause(point: str) -> None:
    """Let what was emitted leave the process, and wait for its end where it ends here."""
    await asyncio.sleep(_SENT_S)
    task = asyncio.current_task()
    if reach(point, id(task)):
        await asyncio.get_running_loop().create_future()


async def add_item(items: list[str], text: str, key: str) -> list[str]:
    """Add what was ordered; one line an attempt."""
    note("effects", key)
    await pause("after_effect")
    return [*items, text]


class LengthRecogniser:
    """Without models: says as many of the words as the utterance is long, of the length that it has as a whole."""

    def __init__(self, words: str, whole_bytes: int) -> None:
        self._words = tuple(words.split())
        self._whole_bytes = whole_bytes

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def begin(self, on_words: OnWords) -> Utterance:
        return _Length(self._words, self._whole_bytes, on_words)


class _Length:
    def __init__(self, words: tuple[str, ...], whole_bytes: int, on_words: OnWords) -> None:
        self._words = words
        self._whole_bytes = whole_bytes
        self._on_words = on_words
        self._bytes = 0

    def feed(self, pcm: bytes) -> None:
        self._bytes += len(pcm)

    def end(self) -> None:
        share = min(1.0, self._bytes / self._whole_bytes)
        self._on_words(self._words[len(self._words) - round(len(self._words) * share) :], True)

    def abandon(self) -> None: ...


class Tones:
    """Without a model: 0.4 s of a tone for each sentence."""

    def synthesize(self, text: str) -> Iterator[bytes]:
        for _ in sentences(text):
            yield (np.sin(np.arange(9_600) / 20) * 4_000).astype("<i2").tobytes()


class Energy:
    """Voice activity by loudness."""

    def detector(self) -> EnergyVoiceActivity:
        return EnergyVoiceActivity(16_000)


def _options() -> CallOptions:
    if os.environ.get("HOSTS_BENCH_MODELS"):
        return CallOptions(recogniser=lambda: ProcessRecogniser(default_menu()))
    return CallOptions(
        recogniser=lambda: LengthRecogniser("what's the total", _WHOLE_BYTES), voices=Energy, speech=Tones
    )


class Waiter(CallAgent):
    """Takes an order, and counts it."""

    options = _options()

    async def converse(self, call: Call) -> None:
        await call.say("Hi!")
        async for turn in call.turns():
            await pause("after_understood")
            items = call.state.get("items", [])
            if os.environ.get("HOSTS_BENCH_CONTROL"):
                call.state["items"] = await add_item(items, turn.text, os.urandom(8).hex())
            else:
                call.state["items"] = await call.tool(_intended, items=items, text=turn.text)
            await pause("after_result")
            await call.say(f"That makes {len(call.state['items'])}. Anything else?")


async def _intended(items: list[str], text: str, key: str) -> list[str]:
    await pause("after_intent")
    return await add_item(items, text, key)


class KilledWaiter(Agent):
    """The waiter, in a process that ends at the points that events and frames show."""

    def __init__(self) -> None:
        self._agent = as_agent(Waiter())
        self.name = "waiter"
        self.input_rate_hz, self.output_rate_hz = self._agent.input_rate_hz, self._agent.output_rate_hz

    async def open(self) -> None:
        await self._agent.open()

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        note("opened")
        return _Killed(self._agent, emit, state)

    async def close(self) -> None:
        await self._agent.close()


class _Killed(Conversation):
    def __init__(self, agent: Agent, emit: Emit, state: Mapping[str, Any] | None) -> None:
        super().__init__(emit)
        self._frames_since_onset: int | None = None
        self._is_understood = False
        self._is_held = False
        """Nothing is emitted any more: the process ends before it."""
        self._inner = agent.converse(self._pass_on, state)
        for name in ("opened", "saved", "playback_finished", "greet", "greet_again", "pressed", "interrupted"):
            setattr(self, name, getattr(self._inner, name))
        for name in ("say_again", "finish", "close"):
            setattr(self, name, getattr(self._inner, name))

    def hear(self, audio: UserAudio) -> None:
        if self._frames_since_onset is not None:
            self._frames_since_onset += 1
            if self._frames_since_onset == 20:
                reach("in_utterance", id(self))
        self._inner.hear(audio)

    def _pass_on(self, event: AgentEvent) -> None:
        match event:
            case UserStartedSpeaking():
                self._frames_since_onset = 0
            case FinalTranscript():
                self._is_understood = True
                self._is_held |= reach("before_understood", id(self))
            case _:
                pass
        if self._emit is not None and not self._is_held:
            self._emit(event)
        if isinstance(event, ReplyAudio) and self._is_understood:
            asyncio.get_running_loop().call_later(_SENT_S, self._in_reply)

    def _in_reply(self) -> None:
        self._is_held |= reach("mid_reply", id(self))

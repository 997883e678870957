"""Plugins of LiveKit Agents around the project's own parts: hearing, text to speech, and a model that follows rules."""

from __future__ import annotations

import atexit
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from livekit.agents import Agent, AgentSession, APIConnectOptions, ChatContext, llm, stt, utils
from livekit.agents.inference import VAD

from testbed.livekit_services import SentenceSTT, SentenceTTS
from tests.agents.support.vendor_voice import EarsRecogniser
from voice_gateway.agents.livekit import LiveKitAgent
from voice_gateway.agents.order.hearing.recogniser import DecoderPool, write_models
from voice_gateway.agents.order.menu import default_menu
from voicelink.audio.speech import SPEECH_RATE_HZ, HibariSpeech, Speech

Say = Callable[[list[Any]], str | tuple[str, str, dict[str, object]]]
"""What follows from the history: a text, or a text before the call of a tool, its name and arguments."""


class OrderHearing(SentenceSTT):
    """pocketsphinx with the order agent's words."""

    def __init__(self) -> None:
        super().__init__(_decoders())


class EarsHearing(SentenceSTT):
    """Knows the recordings: takes little of the processor, for many calls at the same time."""

    def __init__(self) -> None:
        super().__init__(EarsRecogniser())


@functools.cache
def _decoders() -> DecoderPool:
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    write_models(default_menu(), Path(folder.name))
    return DecoderPool(Path(folder.name), default_menu())


class Hibari(SentenceTTS):
    """The project's text to speech."""

    def __init__(self, speech: Speech | None = None) -> None:
        super().__init__(speech or HibariSpeech())


class Words(Speech):
    """A tone of 250 ms for each word: what was played says which words were heard."""

    def synthesize(self, text: str) -> Iterator[bytes]:
        for _ in text.split():
            yield (np.sin(np.arange(SPEECH_RATE_HZ // 4) * 0.1) * 8_000).astype("<i2").tobytes()


class Rules(llm.LLM):
    """A language model that follows a rule."""

    def __init__(self, rule: Say) -> None:
        super().__init__()
        self.rule = rule

    def chat(
        self, *, chat_ctx: ChatContext, tools: Any = None, conn_options: Any = None, **_more: Any
    ) -> llm.LLMStream:
        return _Stream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options or APIConnectOptions())


class _Stream(llm.LLMStream):
    async def _run(self) -> None:
        model = self._llm
        assert isinstance(model, Rules)
        said = model.rule(list(self._chat_ctx.items))
        text = said if isinstance(said, str) else said[0]
        for word in text.split():
            self._send(llm.ChoiceDelta(role="assistant", content=f"{word} "))
        if not isinstance(said, str):
            call = llm.FunctionToolCall(name=said[1], arguments=json.dumps(said[2]), call_id=utils.shortuuid("call_"))
            self._send(llm.ChoiceDelta(role="assistant", tool_calls=[call]))

    def _send(self, delta: llm.ChoiceDelta) -> None:
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))


def new_session(
    rule: Say, speech: Speech | None = None, hearing: stt.STT | None = None, **more: Any
) -> AgentSession[Any]:
    return AgentSession(
        stt=hearing or OrderHearing(),
        vad=VAD(model="silero"),
        llm=Rules(rule),
        tts=Hibari(speech),
        turn_handling={
            "turn_detection": "vad",
            "preemptive_generation": {"enabled": False},
            "interruption": {"resume_false_interruption": False},
        },
        aec_warmup_duration=None,
        user_away_timeout=None,
        **more,
    )


class Scripted(LiveKitAgent):
    """An agent whose model follows `rule`. Callers report what they play, however late on a busy machine."""

    playout_grace_s = 30.0

    def __init__(
        self, rule: Say, *, speech: Speech | None = None, tools: Any = (), greeting: str = "", hearing: Any = None
    ) -> None:
        self.rule = rule
        self.speech = speech
        self.tools = list(tools)
        self.greeting = greeting
        self.hearing = hearing
        self.sessions: list[AgentSession[Any]] = []

    def session(self) -> AgentSession[Any]:
        self.sessions.append(new_session(self.rule, self.speech, self.hearing))
        return self.sessions[-1]

    def agent(self, chat_ctx: ChatContext) -> Agent:
        greeting = self.greeting

        class Shop(Agent):
            async def on_enter(self) -> None:
                if greeting:
                    self.session.say(greeting)

        return Shop(instructions="Take orders.", chat_ctx=chat_ctx, tools=self.tools)


def last_user(items: list[Any]) -> str:
    """Return the newest words of the user in the history."""
    return next(
        (str(each.text_content) for each in reversed(items) if each.type == "message" and each.role == "user"), ""
    )


def said(chat: Any) -> list[tuple[str, str]]:
    """Return the messages of a saved or live history, as role and text."""
    items = chat["items"] if isinstance(chat, dict) else chat.to_dict()["items"]
    messages = (each for each in items if each["type"] == "message" and each["role"] != "system")
    return [(each["role"], " ".join(" ".join(each["content"]).split())) for each in messages]

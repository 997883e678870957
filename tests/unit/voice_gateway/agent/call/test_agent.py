"""The worker's agent that is made of a `CallAgent`: missing packages, callers who were cut off, closing."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from testbed.waiting import until
from tests.unit.voice_gateway.agent.call.workers import Caller, Detectors, ScriptedAgent, Voice, Words
from voice_gateway.agent.base import AgentEvent, Reply, SessionView
from voice_gateway.agent.call import Call, CallAgent, CallOptions, as_agent
from voice_gateway.agent.loading import open_agent
from voice_gateway.errors import GatewayError
from voice_gateway.store.base import Line
from voicelink.errors import VoiceLinkError


async def wait(call: Call) -> None:
    async for _ in call.turns():
        await asyncio.Event().wait()


class Plain(CallAgent):
    async def converse(self, call: Call) -> None:
        await wait(call)


@pytest.mark.parametrize(
    ("module", "options", "sentence"),
    [
        (
            "pocketsphinx",
            {"voices": Detectors, "speech": Voice},
            "speech recognition needs pocketsphinx: pip install 'voice-gateway[agent]'",
        ),
        (
            "onnxruntime",
            {"recogniser": lambda: Words(Caller(wait)), "speech": Voice},
            "voice activity detection needs onnxruntime: pip install 'voice-gateway-link[vad]'",
        ),
        (
            "hibari",
            {"recogniser": lambda: Words(Caller(wait)), "voices": Detectors},
            "speech synthesis needs hibari: pip install 'voice-gateway-link[speech]'",
        ),
    ],
)
async def test_a_missing_extra_is_one_sentence(
    module: str, options: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    agent = as_agent(Plain(CallOptions(**options)))
    with pytest.raises((GatewayError, VoiceLinkError)) as refused:
        await open_agent(agent)
    await agent.close()
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("private_state", "said"),
    [
        ({}, ["Sorry, we were cut off. What did you say last?"]),
        ({"pending": [{"number": 1, "text": "a taro", "through_sequence": 9}]}, []),
    ],
    ids=["nothing pending", "an answer is due"],
)
async def test_a_caller_who_was_cut_off_is_asked_again(private_state: dict[str, Any], said: list[str]) -> None:
    agent = as_agent(ScriptedAgent(wait, Caller(wait)))
    await agent.open()
    events: list[AgentEvent] = []
    conversation = agent.converse(events.append, None)
    lines = (Line(1, "user", "a taro"),)
    conversation.opened(SessionView("s-1", 1, private_state, lambda: lines, lambda: True))
    conversation.greet_again()
    await agent.close()
    assert [event.text for event in events if isinstance(event, Reply)] == said


async def test_close_ends_every_call_and_waits_for_its_coroutine() -> None:
    begun: set[str] = set()
    ended: list[str] = []

    async def tidy(call: Call) -> None:
        begun.add(call.session_id)
        try:
            await wait(call)
        finally:
            await asyncio.sleep(0)
            ended.append(call.session_id)

    agent = as_agent(ScriptedAgent(tidy, Caller(tidy)))
    await agent.open()
    for name in ("s-1", "s-2"):
        conversation = agent.converse(lambda event: None, None)
        conversation.opened(SessionView(name, 0, {}, tuple, lambda: True))
        conversation.greet()
    await until(lambda: len(begun) == 2, "both coroutines")
    await agent.close()
    assert sorted(ended) == ["s-1", "s-2"]

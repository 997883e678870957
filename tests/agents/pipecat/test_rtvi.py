"""RTVI over the application's messages: Pipecat's client asks, the pipeline answers."""

from __future__ import annotations

from typing import Any

from testbed.pipecat_services import WORD_S, silence, voice
from tests.agents.pipecat.calls import Caller
from tests.agents.pipecat.test_turns import bot, calling
from voicelink.wire import App, Received, Text


def rtvi(caller: Caller, kind: str) -> list[Any]:
    return [each.data.get("data") for each in caller.of(App) if each.data.get("type") == kind]


async def test_the_pipeline_is_ready_for_pipecats_client_and_shows_what_it_says() -> None:
    waiter = bot("one taro", answer=lambda _: "Yes. One taro.")
    async with calling(waiter) as caller:
        ready = {"version": "2.1.0", "about": {"library": "test"}}
        caller.send(App(number=0, data={"label": "rtvi-ai", "type": "client-ready", "id": "1", "data": ready}))
        await caller.until(lambda: bool(rtvi(caller, "bot-ready")), "bot-ready")
        await caller.say(voice(0.4) + silence(0.8))
        await caller.until(lambda: bool(rtvi(caller, "bot-stopped-speaking")), "the end of the answer")
        assert rtvi(caller, "bot-ready")[0]["version"].startswith("2.")
        assert [each["text"] for each in rtvi(caller, "user-transcription") if each["final"]] == ["one taro"]
        assert rtvi(caller, "bot-output")
        assert caller.played_ms >= 2 * WORD_S * 1000
        assert caller.of(Received)[-1].number == 0


async def test_a_typed_text_is_a_turn() -> None:
    waiter = bot(answer=lambda messages: f"You said {messages[-1]['content']}.")
    async with calling(waiter) as caller:
        caller.send(Text(number=0, text="two teas"))
        await caller.until(lambda: waiter.said() == ["You said two teas."], "the answer")
        assert caller.of(Received)[-1].number == 0
    assert caller.lines("user") == ["two teas"]

"""A LiveKit agent in a worker: what it hears, says, and keeps of what was heard."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from livekit.agents import APIStatusError, function_tool

from testbed.waiting import until
from tests.agents.livekit.calls import Caller, recording
from tests.agents.livekit.parts import Scripted, Words, last_user, said
from voice_gateway.agent.base import AgentEvent, FinalTranscript, Finished, Reply, SessionView, UserText
from voice_gateway.agents.livekit.audio_io.speech_output import SpeechOutput
from voice_gateway.store.base import Line
from voicelink.wire import Dtmf, Error, Flush

LONG = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen."


async def test_a_spoken_order_is_taken_by_a_tool_once() -> None:
    orders: list[str] = []

    @function_tool
    async def add_item(drink: str) -> str:
        """Add a drink."""
        orders.append(drink)
        return "added"

    def rule(items: list[Any]) -> Any:
        if items[-1].type == "function_call_output":
            return f"I have {orders[-1]}. Anything else?"
        return ("", "add_item", {"drink": last_user(items)})

    agent = Scripted(rule, tools=[add_item], greeting="Hi, what can I get you?")
    caller = Caller(agent)
    await caller.call()
    await caller.until(lambda: caller.said() and caller.complete, "the greeting")
    begin = len(caller.sent)
    await caller.say(recording("slt_order"))
    voiced_until = max(n for n in range(begin, len(caller.sent)) if any(caller.sent[n]))
    await caller.until(lambda: len(caller.said()) >= 3, "the answer")
    end, acked = len(caller.sent), caller.acked
    await caller.until(lambda: not caller.private.get("pending") and len(caller.complete) >= 3, "the turn's end")
    assert len(orders) == 1
    assert caller.said() == ["Hi, what can I get you?", f"I have {orders[0]}.", "Anything else?"]
    assert "brown sugar milk tea" in orders[0]
    assert caller.said("user") == orders
    assert voiced_until - 50 < acked < end
    history = said(caller.private["livekit"]["chat"])
    assert history == [
        ("assistant", "Hi, what can I get you?"),
        ("user", orders[0]),
        ("assistant", f"I have {orders[0]}. Anything else?"),
    ]
    await caller.close()


async def _interrupted_history() -> tuple[Caller, list[tuple[str, str]]]:
    agent = Scripted(lambda items: LONG if "brown" in last_user(items) else "Okay.", speech=Words())
    caller = Caller(agent)
    await caller.call()
    await caller.say(recording("slt_order"))
    await caller.until(lambda: caller.said(), "the answer")
    await caller.say(bytes(32_000))
    caller.is_playing = False
    await caller.say(bytes(32_000))
    caller.is_playing = True
    await caller.say(recording("rms_change"))
    await caller.until(lambda: "Okay." in caller.said() and not caller.private.get("pending"), "the second answer")
    history = said(caller.private["livekit"]["chat"])
    await caller.close()
    assert [role for role, _ in history] == ["user", "assistant", "user", "assistant"]
    return caller, history


async def test_barge_in_leaves_only_the_words_heard_in_the_history() -> None:
    """Playback stalled for a second meanwhile: what was sent, or the time that passed, says nothing."""
    caller, history = await _interrupted_history()
    heard = history[1][1].split()
    assert heard == LONG.split()[: len(heard)]
    assert abs(len(heard) * 250 - caller.played[1]) < 300
    assert len(heard) < len(LONG.split())
    assert caller.of(Flush)


async def test_without_a_synchronized_transcript_all_of_it_stays_in_the_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control of the test before."""
    finished = SpeechOutput.on_playback_finished

    def unsynchronized(output: SpeechOutput, **facts: Any) -> None:
        finished(output, **(facts | {"synchronized_transcript": None}))

    monkeypatch.setattr(SpeechOutput, "on_playback_finished", unsynchronized)
    _, history = await _interrupted_history()
    assert history[1][1] == LONG


async def test_a_key_of_the_telephone_is_a_turn() -> None:
    caller = Caller(Scripted(lambda items: f"You pressed {last_user(items)}."))
    await caller.call()
    caller.link.send(Dtmf(digit="7"))
    await caller.until(lambda: caller.said() and not caller.private.get("pending"), "the answer")
    await caller.close()
    assert (caller.said("user"), caller.said()) == (["7"], ["You pressed 7."])


async def test_a_typed_text_is_a_turn_that_acknowledges_its_message() -> None:
    agent = Scripted(lambda items: f"You wrote {last_user(items)}.")
    events: list[AgentEvent] = []
    conversation = agent.converse(events.append, None)
    conversation.opened(SessionView("s-1", 0, {}, lambda: (), lambda: True))
    conversation.greet()
    conversation.text_received(UserText(4, "a taro"))
    await until(lambda: any(isinstance(event, Reply) for event in events), "the answer", 60.0)
    await agent.close()
    (turn,) = [event for event in events if isinstance(event, FinalTranscript)]
    assert (turn.text, turn.through_message) == ("a taro", 4)
    assert [event.text for event in events if isinstance(event, Reply)] == ["You wrote a taro."]


async def test_what_is_about_to_be_said_again_is_said_once() -> None:
    """A client may lose its connection once more before text to speech has made what another worker lost."""
    begun, is_due = threading.Event(), threading.Event()

    class Slow(Words):
        def synthesize(self, text: str) -> Iterator[bytes]:
            begun.set()
            is_due.wait(60)
            yield from super().synthesize(text)

    agent = Scripted(lambda items: "", speech=Slow())
    events: list[AgentEvent] = []
    conversation = agent.converse(events.append, None)
    lines = (Line(0, "agent", "One two."),)
    conversation.opened(SessionView("s-1", 0, {}, lambda: lines, lambda: True))
    conversation.say_again("One two.")
    conversation.greet()
    assert await asyncio.to_thread(begun.wait, 60)
    conversation.say_again("One two.")
    is_due.set()
    conversation.finish()
    await until(lambda: any(isinstance(event, Finished) for event in events), "the end", 60.0)
    await agent.close()
    assert [event.text for event in events if isinstance(event, Reply)] == ["One two."]


async def test_silence_is_acked() -> None:
    caller = Caller(Scripted(lambda items: ""))
    await caller.call()
    await caller.until(lambda: caller.acked >= 100, "an ack of two seconds of silence")
    await caller.close()
    assert caller.acked < len(caller.sent)


async def test_a_client_without_reports_of_playback_does_not_stop_the_call() -> None:
    agent = Scripted(lambda items: "", greeting="Hello there.")
    agent.playout_grace_s = 0.2
    caller = Caller(agent, reports=False)
    await caller.call()
    chat = lambda: said(caller.private.get("livekit", {}).get("chat", {"items": []}))  # noqa: E731
    await caller.until(lambda: chat() == [("assistant", "Hello there.")], "the greeting in the history")
    await caller.close()


async def test_an_agent_that_cannot_start_ends_the_session_after_an_apology() -> None:
    class Broken(Scripted):
        apology = "Sorry."

        def session(self) -> Any:
            raise ValueError("a secret")

    caller = Caller(Broken(lambda items: ""))
    await caller.call()
    await caller.until(lambda: caller.of(Error), "the error")
    await caller.close()
    assert caller.of(Error)[0].message == "the LiveKit agent could not start: ValueError"
    assert caller.said() == ["Sorry."]
    assert sum(caller.played.values()) > 300


async def test_a_model_that_fails_for_good_ends_the_session_after_an_apology() -> None:
    def refuse(items: list[Any]) -> str:
        raise APIStatusError("a secret", status_code=401, retryable=False)

    agent = Scripted(refuse)
    agent.apology = "Sorry."
    caller = Caller(agent)
    await caller.call()
    await caller.say(recording("slt_order"))
    await caller.until(lambda: caller.of(Error), "the error", 60)
    await caller.close()
    assert caller.of(Error)[0].message.startswith("LiveKit's session ended: LLMError of ")
    assert caller.said() == ["Sorry."]


def test_logs_of_livekit_hold_no_words(caplog: pytest.LogCaptureFixture) -> None:
    agent = Scripted(lambda items: "")
    agent.keep_logs_private()
    logging.getLogger("livekit.agents").warning("skipping user input", extra={"lk.pii.user_input": "a secret"})
    assert "a secret" not in str(caplog.records[-1].__dict__)

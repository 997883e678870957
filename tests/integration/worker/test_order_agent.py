"""Recorded callers, through Opus, to orders: the real ear, recogniser and voice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from testbed.waiting import until
from tests.unit.decoded import pcm_of
from tests.unit.recordings import recording
from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    Conversation,
    FinalTranscript,
    Finished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    StateChanged,
    UserAudio,
    UserStartedSpeaking,
)
from voice_gateway.agent.call import as_agent
from voice_gateway.agents.order.agent import OrderAgent
from voice_gateway.agents.order.dialogue import Dialogue, greeting
from voice_gateway.agents.order.hearing.recogniser import InlineRecogniser
from voice_gateway.agents.order.hearing.recogniser_process import ProcessRecogniser
from voice_gateway.agents.order.menu import default_menu
from voice_gateway.errors import AgentError
from voice_gateway.testing.agents import Caller
from voicelink.audio.codec import FrameDecoder, FrameEncoder
from voicelink.wire import AudioFrame, Codec

PAUSE = bytes(32_000 * 2)
SECOND_SENTENCE_MS = 5_170
GREETING = greeting(Dialogue(default_menu()))
_STEPS_OF_AN_ANSWER = 20
"""Of the event loop, from a turn's words to its answer."""
CALLERS_ORDER = [
    ("taro milk tea", 1, "large", "oat", 75),
    ("matcha latte", 1, "medium", "whole", 100),
]


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    menu = default_menu()
    agent = as_agent(OrderAgent(menu=menu, recogniser=InlineRecogniser(menu), is_inline=True))
    asyncio.run(agent.open())
    yield agent
    asyncio.run(agent.close())


def frames(codec: Codec, pcm: bytes) -> list[AudioFrame]:
    encoder = FrameEncoder(codec, 16_000)
    made = encoder.push(pcm) + encoder.flush()
    return [AudioFrame(sequence, timestamp, codec, payload) for sequence, (timestamp, payload) in enumerate(made)]


def call(
    agent: Agent, pcm: bytes, *, codec: Codec = Codec.OPUS, state: dict[str, Any] | None = None
) -> list[AgentEvent]:
    async def run() -> list[AgentEvent]:
        caller = Caller(agent, 20.0, state)
        caller.conversation.greet()
        await hear(caller, frames(codec, pcm))
        await caller.finish()
        caller.conversation.close()
        assert isinstance(caller.events[-1], Finished)
        return [event for event in caller.events if event != Reply(GREETING)]

    return asyncio.run(run())


async def hear(caller: Caller, heard: list[AudioFrame]) -> None:
    """Give the frames to the agent, and its tasks time to answer each."""
    decoder = FrameDecoder(caller.agent.input_rate_hz)
    for frame in heard:
        caller.sequence = frame.sequence
        caller.conversation.hear(UserAudio(frame.sequence, pcm_of(decoder.decode(frame))))
        for _ in range(_STEPS_OF_AN_ANSWER):
            await asyncio.sleep(0)


def last_state(events: list[AgentEvent]) -> dict[str, Any]:
    changed = (e.state for e in reversed(events) if isinstance(e, StateChanged) and e.state is not None)
    return dict(next(changed))


def lines(state: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (item["drink"], item["quantity"], item["size"], item["milk"], item["sugar_percent"]) for item in state["items"]
    ]


@pytest.mark.parametrize("codec", [Codec.OPUS, Codec.PCM16_16K, Codec.PCM16_48K, Codec.PCMU])
def test_the_caller_gets_what_was_ordered(agent: Agent, codec: Codec) -> None:
    events = call(agent, recording("caller") + PAUSE, codec=codec)
    assert lines(last_state(events)) == CALLERS_ORDER
    assert last_state(events)["total"] == "11.75"
    assert sum(isinstance(event, UserStartedSpeaking) for event in events) == 1
    assert sum(len(event.pcm) for event in events if isinstance(event, ReplyAudio)) / 48_000 > 3


def test_without_a_tail_finish_ends_the_turn(agent: Agent) -> None:
    assert lines(last_state(call(agent, recording("caller")))) == CALLERS_ORDER


def test_a_whole_order_from_several_voices(agent: Agent) -> None:
    names = (
        *("caller", "rms_change", "rms_two_drinks", "slt_order", "rms_off_menu", "slt_remove", "rms_read_back"),
        *("slt_total", "slt_done", "awb_confirm"),
    )
    events = call(agent, b"".join(recording(name) + PAUSE for name in names))
    assert [event.text for event in events if isinstance(event, Reply)] == [
        "One large taro milk tea with oat milk and 75 percent sugar. One medium matcha latte. Anything else?",
        "Okay, one large matcha latte. Anything else?",
        "Two small jasmine green teas with no ice and boba. Anything else?",
        "One medium brown sugar milk tea with 50 percent sugar and grass jelly. Anything else?",
        "Sorry, I did not get that. Could you say it again?",
        "I took off the matcha latte. Anything else?",
        "You have one large taro milk tea with oat milk and 75 percent sugar, two small jasmine green teas with no ice "
        "and boba, and one medium brown sugar milk tea with 50 percent sugar and grass jelly. That is $22.50. "
        "Anything else?",
        "That is $22.50. Anything else?",
        "You have one large taro milk tea with oat milk and 75 percent sugar, two small jasmine green teas with no ice "
        "and boba, and one medium brown sugar milk tea with 50 percent sugar and grass jelly. That is $22.50. "
        "Shall I place the order?",
        "Thank you! Your order is placed, that is $22.50.",
    ]
    assert last_state(events)["status"] == "confirmed"


def test_a_restored_conversation_goes_on(agent: Agent) -> None:
    before = last_state(call(agent, recording("caller") + PAUSE))
    after = last_state(call(agent, recording("slt_remove") + PAUSE, state=before))
    assert lines(after) == CALLERS_ORDER[:1]


def test_an_utterance_sent_again_from_its_start_is_understood_the_same(agent: Agent) -> None:
    whole = frames(Codec.OPUS, recording("caller") + PAUSE)

    async def run() -> list[AgentEvent]:
        cut_off = Caller(agent, 20.0)
        await hear(cut_off, whole[:60])
        cut_off.conversation.close()
        resumed = Caller(agent, 20.0)
        resumed.conversation.greet()
        await hear(resumed, whole[cut_off.through_sequence + 1 :])
        resumed.conversation.close()
        return resumed.events

    assert lines(last_state(asyncio.run(run()))) == CALLERS_ORDER


@pytest.mark.parametrize("offset", [0, 16, 148, 200, 316])
def test_a_sentence_is_understood_wherever_its_frames_begin(agent: Agent, offset: int) -> None:
    """At some of these offsets what sounds most alike is no sentence: "it and a matcha latte"."""
    sentence = recording("caller")[SECOND_SENTENCE_MS * 32 :]
    events = call(agent, bytes(2 * (9_600 + offset)) + sentence + PAUSE)
    assert lines(last_state(events)) == CALLERS_ORDER[1:]


def test_the_same_audio_gives_the_same_words_whoever_spoke_before(agent: Agent) -> None:
    said = []
    for before in ("caller", "rms_off_menu", "slt_total"):
        call(agent, recording(before))
        said.append([event.text for event in call(agent, recording("slt_order")) if isinstance(event, FinalTranscript)])
    assert said == [said[0]] * 3


@pytest.mark.parametrize("pcm", [bytes(32_000 * 4), recording("rms_off_menu") + PAUSE], ids=["silence", "off the menu"])
def test_nothing_ordered_is_no_order(agent: Agent, pcm: bytes) -> None:
    events = call(agent, pcm)
    assert not any(isinstance(event, StateChanged) and event.state is not None for event in events)


async def listen(conversation: Conversation, pcm: bytes, is_enough: Callable[[], bool]) -> None:
    """Let the conversation hear frames, giving its helpers a chance to answer, until it is enough."""
    for sequence, at in enumerate(range(0, len(pcm), 640)):
        conversation.hear(UserAudio(sequence, pcm[at : at + 640]))
        await asyncio.sleep(0)
    await until(is_enough, timeout_s=60)


async def test_with_the_recogniser_in_a_process_and_the_voice_in_a_thread() -> None:
    agent = as_agent(OrderAgent(recogniser=ProcessRecogniser(default_menu())))
    await agent.open()
    try:
        caller = Caller(agent, 20.0, sequence=len(recording("caller") + PAUSE) // 640)
        await listen(caller.conversation, recording("caller") + PAUSE, lambda: len(caller.of(ReplyEnded)) > 1)
        assert lines(last_state(caller.events)) == CALLERS_ORDER
    finally:
        await agent.close()


async def test_a_recogniser_process_that_dies_costs_one_utterance() -> None:
    recogniser = ProcessRecogniser(default_menu())
    await recogniser.open()
    try:
        final: list[tuple[str, ...] | AgentError] = []
        lost = recogniser.begin(lambda words, is_final: final.append(words) if is_final else None)
        lost.feed(recording("slt_total")[:32_000])
        process_id = recogniser.process_ids[0]
        assert process_id is not None
        os.kill(process_id, signal.SIGKILL)
        await until(lambda: bool(final) and recogniser.process_ids[0] not in (None, process_id))
        assert final == [()]
        lost.end()
        again = recogniser.begin(lambda words, is_final: final.append(words) if is_final else None)
        again.feed(recording("slt_total"))
        again.end()
        await until(lambda: len(final) == 2)
        assert final[1] == ("what's", "the", "total")
    finally:
        await recogniser.close()
    assert recogniser.process_ids == (None,)

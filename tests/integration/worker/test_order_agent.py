"""Recorded callers, through Opus, to orders: the real ear, recogniser and voice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from testbed.waiting import until
from tests.unit.recordings import recording
from voice_gateway.agent.base import (
    AgentEvent,
    Conversation,
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserAudio,
    UserStartedSpeaking,
)
from voice_gateway.agents.order.agent import OrderAgent
from voice_gateway.agents.order.hearing.recogniser import InlineRecogniser
from voice_gateway.agents.order.hearing.recogniser_process import ProcessRecogniser
from voice_gateway.agents.order.menu import default_menu
from voicelink.audio.codec import FrameDecoder, FrameEncoder
from voicelink.wire import AudioFrame, Codec

PAUSE = bytes(32_000 * 2)
SECOND_SENTENCE_MS = 5_170
CALLERS_ORDER = [
    ("taro milk tea", 1, "large", "oat", 75),
    ("matcha latte", 1, "medium", "whole", 100),
]


@pytest.fixture(scope="module")
def agent() -> Iterator[OrderAgent]:
    menu = default_menu()
    agent = OrderAgent(menu=menu, recogniser=InlineRecogniser(menu), is_inline=True)
    asyncio.run(agent.open())
    yield agent
    asyncio.run(agent.close())


def frames(codec: Codec, pcm: bytes) -> list[AudioFrame]:
    encoder = FrameEncoder(codec, 16_000)
    made = encoder.push(pcm) + encoder.flush()
    return [AudioFrame(sequence, timestamp, codec, payload) for sequence, (timestamp, payload) in enumerate(made)]


def call(
    agent: OrderAgent, pcm: bytes, *, codec: Codec = Codec.OPUS, state: dict[str, Any] | None = None
) -> list[AgentEvent]:
    events: list[AgentEvent] = []
    conversation = agent.converse(events.append, state)
    decoder = FrameDecoder(agent.input_rate_hz)
    for frame in frames(codec, pcm):
        conversation.hear(UserAudio(frame.sequence, bytes(decoder.decode(frame))))
    conversation.finish()
    conversation.close()
    assert isinstance(events[-1], Finished)
    return events


def last_state(events: list[AgentEvent]) -> dict[str, Any]:
    return dict(next(e.state for e in reversed(events) if isinstance(e, FinalTranscript) and e.state is not None))


def lines(state: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (item["drink"], item["quantity"], item["size"], item["milk"], item["sugar_percent"]) for item in state["items"]
    ]


@pytest.mark.parametrize("codec", [Codec.OPUS, Codec.PCM16_16K, Codec.PCM16_48K, Codec.PCMU])
def test_the_caller_gets_what_was_ordered(agent: OrderAgent, codec: Codec) -> None:
    events = call(agent, recording("caller") + PAUSE, codec=codec)
    assert lines(last_state(events)) == CALLERS_ORDER
    assert last_state(events)["total"] == "11.75"
    assert sum(isinstance(event, UserStartedSpeaking) for event in events) == 1
    assert sum(len(event.pcm) for event in events if isinstance(event, ReplyAudio)) / 48_000 > 3


def test_without_a_tail_finish_ends_the_turn(agent: OrderAgent) -> None:
    assert lines(last_state(call(agent, recording("caller")))) == CALLERS_ORDER


def test_a_whole_order_from_several_voices(agent: OrderAgent) -> None:
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


def test_a_restored_conversation_goes_on(agent: OrderAgent) -> None:
    before = last_state(call(agent, recording("caller") + PAUSE))
    after = last_state(call(agent, recording("slt_remove") + PAUSE, state=before))
    assert lines(after) == CALLERS_ORDER[:1]


def test_an_utterance_sent_again_from_its_start_is_understood_the_same(agent: OrderAgent) -> None:
    whole = frames(Codec.OPUS, recording("caller") + PAUSE)
    first, second = [], []
    cut_off = agent.converse(first.append, None)
    decoder = FrameDecoder(16_000)
    for frame in whole[:60]:
        cut_off.hear(UserAudio(frame.sequence, bytes(decoder.decode(frame))))
    cut_off.close()
    silent_up_to = max((event.through_sequence for event in first if isinstance(event, NoSpeechUpTo)), default=-1)
    resumed = agent.converse(second.append, None)
    decoder = FrameDecoder(16_000)
    for frame in whole[silent_up_to + 1 :]:
        resumed.hear(UserAudio(frame.sequence, bytes(decoder.decode(frame))))
    resumed.close()
    assert lines(last_state(second)) == CALLERS_ORDER


@pytest.mark.parametrize("offset", [0, 16, 148, 200, 316])
def test_a_sentence_is_understood_wherever_its_frames_begin(agent: OrderAgent, offset: int) -> None:
    """At some of these offsets what sounds most alike is no sentence: "it and a matcha latte"."""
    sentence = recording("caller")[SECOND_SENTENCE_MS * 32 :]
    events = call(agent, bytes(2 * (9_600 + offset)) + sentence + PAUSE)
    assert lines(last_state(events)) == CALLERS_ORDER[1:]


def test_the_same_audio_gives_the_same_words_whoever_spoke_before(agent: OrderAgent) -> None:
    said = []
    for before in ("caller", "rms_off_menu", "slt_total"):
        call(agent, recording(before))
        said.append([event.text for event in call(agent, recording("slt_order")) if isinstance(event, FinalTranscript)])
    assert said == [said[0]] * 3


@pytest.mark.parametrize("pcm", [bytes(32_000 * 4), recording("rms_off_menu") + PAUSE], ids=["silence", "off the menu"])
def test_nothing_ordered_is_no_order(agent: OrderAgent, pcm: bytes) -> None:
    events = call(agent, pcm)
    assert not any(isinstance(event, FinalTranscript) and event.state is not None for event in events)


async def listen(conversation: Conversation, pcm: bytes, is_enough: Callable[[], bool]) -> None:
    """Let the conversation hear frames, giving its helpers a chance to answer, until it is enough."""
    for sequence, at in enumerate(range(0, len(pcm), 640)):
        conversation.hear(UserAudio(sequence, pcm[at : at + 640]))
        await asyncio.sleep(0)
    await until(is_enough)


async def test_with_the_recogniser_in_a_process_and_the_voice_in_a_thread() -> None:
    agent = OrderAgent(recogniser=ProcessRecogniser(default_menu()))
    await agent.open()
    try:
        events: list[AgentEvent] = []
        conversation = agent.converse(events.append, None)
        await listen(
            conversation, recording("caller") + PAUSE, lambda: any(isinstance(event, ReplyEnded) for event in events)
        )
        assert lines(last_state(events)) == CALLERS_ORDER
    finally:
        await agent.close()


async def test_a_recogniser_process_that_dies_costs_one_utterance() -> None:
    recogniser = ProcessRecogniser(default_menu())
    await recogniser.open()
    try:
        final: list[tuple[str, ...]] = []
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

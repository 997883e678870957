"""The apology of an agent that failed: what it follows, and when the call may end."""

from __future__ import annotations

import asyncio

import pytest

from voice_gateway.agent.apology import Apology
from voice_gateway.agent.base import AgentEvent, PlaybackFinished, Reply, ReplyAudio, ReplyEnded, StopReply
from voice_gateway.agent.last_reply import LastReply

SORRY = Apology("Sorry.", bytes(960_000))
WHOLE = PlaybackFinished("Sorry.", 20_000)


class Saying:
    """An apology of 20 s that is being said."""

    def __init__(self) -> None:
        self.events: list[AgentEvent] = []
        self.reply = LastReply(self.events.append, 48_000)
        self.task = asyncio.get_running_loop().create_task(self.reply.say(SORRY))

    async def is_over(self) -> bool:
        for _ in range(10):
            await asyncio.sleep(0)
        return self.task.done()


@pytest.fixture
async def saying() -> Saying:
    saying = Saying()
    assert not saying.reply.is_begun
    assert not await saying.is_over()
    assert saying.reply.is_begun
    return saying


async def test_it_stops_what_is_being_said_and_is_over_once_it_was_played(saying: Saying) -> None:
    assert saying.events == [StopReply(), Reply("Sorry."), ReplyAudio(SORRY.audio), ReplyEnded()]
    saying.reply.playback_finished(WHOLE)
    assert await saying.is_over()


async def test_it_is_over_once_it_was_cut_off(saying: Saying) -> None:
    saying.reply.playback_finished(PlaybackFinished("Sor", 100, is_interrupted=True))
    assert await saying.is_over()


async def test_a_reply_before_it_that_was_played_whole_is_not_its_end(saying: Saying) -> None:
    saying.reply.playback_finished(PlaybackFinished("Hello.", 900))
    assert not await saying.is_over()
    saying.reply.playback_finished(WHOLE)
    assert await saying.is_over()


async def test_what_is_cut_off_as_it_begins_is_not_its_end() -> None:
    events: list[AgentEvent] = []

    def emit(event: AgentEvent) -> None:
        events.append(event)
        if isinstance(event, StopReply):
            reply.playback_finished(PlaybackFinished("", 0, is_interrupted=True))

    reply = LastReply(emit, 48_000)
    task = asyncio.get_running_loop().create_task(reply.say(SORRY))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    reply.playback_finished(WHOLE)
    await asyncio.wait_for(task, 5)


async def test_without_a_report_it_is_over_3_s_after_it_must_have_been_played(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float | None] = []

    def expired(delay_s: float | None) -> asyncio.Timeout:
        given.append(delay_s)
        return asyncio.Timeout(asyncio.get_running_loop().time())

    monkeypatch.setattr(asyncio, "timeout", expired)
    await LastReply(lambda event: None, 48_000).say(SORRY)
    assert given == [23.0]


async def test_without_audio_what_is_being_said_is_stopped_and_nothing_follows() -> None:
    events: list[AgentEvent] = []
    await LastReply(events.append, 48_000).say(Apology("Sorry."))
    assert events == [StopReply()]

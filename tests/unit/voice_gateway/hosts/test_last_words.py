"""What the caller hears of a call that no host could take."""

from __future__ import annotations

import asyncio

from voice_gateway.agent.base import AgentEvent, Reply, ReplyAudio, ReplyEnded, StopReply
from voice_gateway.hosts.worker.call.last_words import LastWords


async def test_the_apology_is_over_once_it_was_played() -> None:
    events: list[AgentEvent] = []
    words = LastWords(events.append, "Sorry.", bytes(960_000), 48_000)
    assert not words.is_said
    saying = asyncio.get_running_loop().create_task(words.say())
    await asyncio.sleep(0)
    assert words.is_said
    assert not saying.done()
    assert events == [StopReply(), Reply("Sorry."), ReplyAudio(bytes(960_000)), ReplyEnded()]
    words.playback_finished()
    await asyncio.wait_for(saying, 5)


async def test_without_a_recording_what_is_being_said_is_stopped_and_nothing_follows() -> None:
    events: list[AgentEvent] = []
    await LastWords(events.append, "", b"", 48_000).say()
    assert events == [StopReply()]

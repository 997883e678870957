"""What Chromium's microphone gave to the page, to find whether a missing word ever reached the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from typing import ParamSpec

import pytest
import soxr

from testbed.calls.agents import Mute
from tests.browser.sound import Sound
from voice_gateway.agent.base import AgentEvent, FinalTranscript, UserAudio
from voice_gateway.agent.call import as_agent
from voice_gateway.agents.order.agent import OrderAgent
from voice_gateway.agents.order.hearing.recogniser import RECOGNISER_RATE_HZ, InlineRecogniser
from voice_gateway.agents.order.menu import default_menu

P = ParamSpec("P")
TRIES = 3
FRAME = RECOGNISER_RATE_HZ // 50


class MicrophoneError(Exception):
    """The page was never given what is missing; Chromium drops sound on a machine that lets its threads wait."""


def until_the_microphone_works(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """Make the call of a test again where Chromium itself lost the speech; losses of ours still fail it at once."""

    @wraps(test)
    async def tried(*args: P.args, **kwargs: P.kwargs) -> None:
        for _ in range(TRIES):
            with suppress(MicrophoneError):
                return await test(*args, **kwargs)
        pytest.fail(f"Chromium's microphone lost speech in {TRIES} calls")

    return tried


async def words_in(sound: Sound) -> str:
    """What the agent makes of a recording that went nowhere."""
    said: list[str] = []

    def note(event: AgentEvent) -> None:
        if isinstance(event, FinalTranscript):
            said.append(event.text)

    agent = as_agent(OrderAgent(recogniser=InlineRecogniser(default_menu()), speech=Mute(), is_inline=True))
    await agent.open()
    try:
        conversation = agent.converse(note, None)
        pcm = soxr.resample(sound.samples, sound.rate_hz, RECOGNISER_RATE_HZ)
        for sequence, start in enumerate(range(0, len(pcm), FRAME)):
            conversation.hear(UserAudio(sequence, pcm[start : start + FRAME].tobytes()))
        conversation.finish()
    finally:
        await agent.close()
    return " ".join(said)

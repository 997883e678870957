"""Callers who come and go: each stays for some ten seconds, and does one of the things that callers do."""

from __future__ import annotations

import asyncio
import random
import wave
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.cluster import ROOT
from voice_client import AudioOptions, ClientError, ConnectionOptions, Security, VoiceClient
from voice_client.audio.source import PcmSource
from voice_client.errors import CallLost

_SENTENCE_S = 6.5
"""Of `deploy/local/caller.wav`: its first sentence and the pause that ends the turn."""


async def speaks(call: VoiceClient) -> None:
    await call.speak(PcmSource(sentence()))
    await call.listen()
    await call.finish()


async def types(call: VoiceClient) -> None:
    call.send_text("two large green teas without ice")
    await call.listen()
    call.send_text("that is all")
    await call.listen()
    await call.finish()


async def barges_in(call: VoiceClient) -> None:
    call.send_text("a large taro milk tea")
    await asyncio.sleep(1.0)  # the agent answers by now
    await call.speak(PcmSource(sentence()))
    await call.listen()
    await call.finish()


async def migrates(call: VoiceClient) -> None:
    speaking = asyncio.create_task(call.speak(PcmSource(sentence())))
    await asyncio.sleep(1.0)
    await call.migrate()
    await speaking
    await call.finish()


async def resumes(call: VoiceClient) -> None:
    speaking = asyncio.create_task(call.speak(PcmSource(sentence())))
    await asyncio.sleep(1.0)
    inner = call._call
    if (link := inner.link) is not None:
        link.leave()
        inner.link_lost(link, CallLost("the benchmark dropped the connection"))
    await speaking
    await call.finish()


async def vanishes(call: VoiceClient) -> None:
    await call.speak(PcmSource(sentence()[:64_000]))


KINDS: Mapping[str, Callable[[VoiceClient], Awaitable[None]]] = {
    each.__name__: each for each in (speaks, types, barges_in, migrates, resumes, vanishes)
}


@dataclass(slots=True)
class Churn:
    """`at_once` callers at a time, each followed by the next; `run` goes on until it is cancelled."""

    url: str
    ca_file: Path
    at_once: int
    calls: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    frames_lost: int = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for place in range(self.at_once):
                group.create_task(self._one_after_the_other(place))

    async def _one_after_the_other(self, place: int) -> None:
        rng = random.Random(place)
        await asyncio.sleep(rng.uniform(0, 5))  # so that they do not move in step
        while True:
            kinds = list(KINDS)
            rng.shuffle(kinds)
            for kind in kinds:
                await self._call(kind)

    async def _call(self, kind: str) -> None:
        self.calls[kind] += 1
        client = VoiceClient(
            self.url,
            security=Security(ca_file=self.ca_file),
            audio=AudioOptions(),
            connection=ConnectionOptions(local_address="127.0.0.2"),
        )
        try:
            async with client as call:
                await KINDS[kind](call)
        except ClientError as error:
            self.faults[f"{kind}: {error}"] += 1
            await asyncio.sleep(1.0)
            return
        if kind != "vanishes":
            self.frames_lost += client.frames_sent - client.frames_acked


def sentence() -> bytes:
    """The first sentence of the recorded caller, PCM16 at 16 kHz."""
    with wave.open(str(ROOT / "deploy" / "local" / "caller.wav")) as file:
        return bytes(file.readframes(round(_SENTENCE_S * file.getframerate())))

"""What an agent says as steps of its turn: what an earlier worker said of it is not said again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from voice_gateway.agent.base import Emit, StopReply
from voice_gateway.agent.call.progress.progress import Progress
from voice_gateway.agent.call.progress.steps import Steps
from voice_gateway.agent.call.speaking.hold import Hold
from voice_gateway.agent.call.speaking.replies import Replies, Speakable, Spoken, closed, each_of, sentences_of
from voice_gateway.agent.call.waiting import Changes
from voicelink.audio.speech import sentences


class Saying:
    """Says a text or a stream by `replies`, journals what it gave, and plays hold audio; PCM16 of `bytes_per_s`."""

    def __init__(self, emit: Emit, progress: Progress, replies: Replies, changes: Changes, bytes_per_s: int) -> None:
        self._emit = emit
        self._progress = progress
        self._replies = replies
        self._changes = changes
        self._bytes_per_s = bytes_per_s
        self._holds: list[Hold] = []

    async def say(self, speech: Speakable, text: str | None) -> Spoken:
        """Say it, as `Call.say`; hold audio pauses meanwhile."""
        if self._steps.is_repeating_prelude:
            return Spoken()
        with ExitStack() as paused:
            for hold in self._holds:
                paused.enter_context(hold.paused())
            return await self._say(speech, text)

    @asynccontextmanager
    async def hold(self, audio: bytes) -> AsyncIterator[None]:
        """Play it over and over, as `Call.hold`."""
        hold = Hold(self._replies, self._changes, self.interrupt, audio, self._bytes_per_s)
        self._holds.append(hold)
        playing = asyncio.get_running_loop().create_task(self._play_hold(hold))
        try:
            yield
        finally:
            self._holds.remove(hold)
            self.interrupt()
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)

    async def _play_hold(self, hold: Hold) -> None:
        try:
            await hold.run()
        except Exception as error:  # the agent is busy with something else, and the caller must not wait in silence
            self._replies.on_failure(error)

    def interrupt(self) -> None:
        """Stop what is being said: `say` returns what was played."""
        if self._replies.is_saying:
            self._emit(StopReply())
            self._replies.cut_off()

    async def _say(self, speech: Speakable, text: str | None) -> Spoken:
        ordinal = self._steps.next_say()
        before = self._steps.generated_before(ordinal)
        if before is not None and before.is_cut:
            self._steps.was_said(before.text)
            return Spoken(before.text, before.played_ms, is_interrupted=True)
        if before is not None:
            spoken = await self._say_text(sentences(before.text), before.text)
        elif isinstance(speech, str):
            spoken = await self._say_text([speech.strip()], speech)
        elif text is not None:
            spoken = await self._play(speech, text)
        else:
            spoken = await self._stream(speech, ordinal)
        if spoken.is_interrupted:
            self._steps.generated(ordinal, spoken.text, is_cut=True, played_ms=spoken.played_ms)
        return spoken

    async def _say_text(self, parts: list[str], text: str) -> Spoken:
        goes_on = False
        while parts and self._steps.was_said(parts[0]):
            parts.pop(0)
            goes_on = True
        if not parts or not parts[0]:
            return await self._replies.rest(text.strip())
        return await self._replies.say(each_of(parts), goes_on=goes_on)

    async def _stream(self, speech: AsyncIterable[str] | AsyncIterable[bytes], ordinal: str) -> Spoken:
        generated: list[str] = []

        async def new_sentences() -> AsyncIterator[str]:
            async for sentence in sentences_of(_texts(speech)):
                generated.append(sentence)
                if not self._steps.was_said(sentence):
                    yield sentence
            self._steps.generated(ordinal, " ".join(generated))

        return await self._replies.say(new_sentences(), goes_on=self._steps.has_said)

    async def _play(self, speech: AsyncIterable[str] | AsyncIterable[bytes], text: str) -> Spoken:
        if self._steps.was_said(text):
            return await self._replies.rest(text)
        return await self._replies.play(_pcm(speech), text)

    @property
    def _steps(self) -> Steps:
        return self._progress.steps


async def _texts(pieces: AsyncIterable[str] | AsyncIterable[bytes]) -> AsyncIterator[str]:
    try:
        async for piece in pieces:
            if not isinstance(piece, str):
                raise TypeError("say of PCM needs text=..., the words that the transcript shows")
            yield piece
    finally:
        await closed(pieces)


async def _pcm(pieces: AsyncIterable[str] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        if not isinstance(piece, bytes):
            raise TypeError("say with text=... takes a stream of PCM16; a stream of text needs none")
        yield piece

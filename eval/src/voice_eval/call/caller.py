"""A caller: performs the steps of a scenario over a line, every 20 ms, and writes down what happens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from voice_eval.call.record import CALLER_HZ, FRAME_S, Mark, Utterance
from voice_eval.call.speech import spoken
from voice_eval.drivers.base import Line
from voice_eval.errors import CallFailed, EvalError
from voice_eval.network.path import Outage
from voice_eval.scenario.model import Listen, Press, Say, Step, Type, Wait

SILENCE: Final = bytes(round(CALLER_HZ * FRAME_S) * 2)
QUIET_S: Final = 0.8
"""So long a silence ends an answer, where only the sound says so."""
_POLL_S: Final = 0.02
_LATEST_S: Final = 300.0
"""No call lasts longer."""
_LOUD: Final = 300
BeginSpeech = Callable[[], list[Outage]]


class Caller:
    """`begin_speech` is called at the first word, and returns the outages that follow, on the event loop's clock."""

    def __init__(self, line: Line, folder: Path, begin_speech: BeginSpeech) -> None:
        self._line = line
        self._record = line.record
        self._scenario = line.dialling.scenario
        self._folder = folder
        self._begin_speech = begin_speech
        self._has_spoken = False
        self._queue: deque[bytes] = deque()
        self._spoke_until = 0.0
        self._last_played: float | None = None
        self._silent_s = 0.0
        """By the caller's own ticks: what holds those up is no silence of the agent."""
        self._answer_began: float | None = None

    async def call(self) -> None:
        """Call, perform and hang up; what goes wrong with the call is in the record's `error`."""
        try:
            await self._line.open()
            await self._performed()
        except CallFailed as error:
            self._record.error = str(error)
        finally:
            self._record.duration_s = self._line.clock()
            await self._line.close()
            passed = [mark for mark in self._record.marks if mark.at_s <= self._record.duration_s]
            self._record.marks = sorted(passed, key=lambda mark: mark.at_s)

    async def _performed(self) -> None:
        ticking = asyncio.create_task(self._tick())
        performing = asyncio.create_task(self._perform())
        try:
            async with asyncio.timeout(_LATEST_S):
                await asyncio.wait((ticking, performing), return_when=asyncio.FIRST_COMPLETED)
                if performing.done():
                    performing.result()
                    ticking.cancel()
                    await self._line.finish()
                else:
                    ticking.result()
        except TimeoutError:
            raise CallFailed(f"the call did not end within {_LATEST_S:g} s") from None
        finally:
            for task in (ticking, performing):
                task.cancel()
            await asyncio.gather(ticking, performing, return_exceptions=True)
        if self._line.fault is not None:
            raise CallFailed(self._line.fault)

    async def _tick(self) -> None:
        """The caller's microphone and loudspeaker; ends with the line."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._line.fault is None:
            now = self._line.clock()
            self._record.late_s.append(max(0.0, loop.time() - due))
            frame = self._queue.popleft() if self._queue else None
            if frame is not None:
                self._record.said.add(now, frame)
            self._line.send(frame or SILENCE)
            self._silent_s += FRAME_S
            if pcm := self._line.play(FRAME_S):
                self._silent_s = 0.0
                self._record.played_audio.add(now, pcm)
            self._follow_answer(now)
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _follow_answer(self, now: float) -> None:
        pieces = self._record.played_audio.pieces
        if pieces:
            at_s, pcm = pieces[-1]
            self._last_played = at_s + len(pcm) / 2 / self._record.played_audio.rate_hz
        if self._is_agent_speaking():
            if self._answer_began is None and self._last_played is not None and self._last_played > self._spoke_until:
                self._answer_began = now
        else:
            self._answer_began = None

    def _is_agent_speaking(self) -> bool:
        known = self._line.is_agent_speaking
        if known is not None:
            return known
        return self._last_played is not None and self._silent_s < QUIET_S

    async def _perform(self) -> None:
        if self._scenario.has_greeting:
            await self._listen(self._scenario.answer_timeout_ms / 1000)
        for step, after in zip(self._scenario.steps, (*self._scenario.steps[1:], None), strict=True):
            await self._do(step)
            is_cut_in = isinstance(after, Say) and after.barge_in_ms is not None
            if isinstance(step, Say | Press | Type) and not is_cut_in and not isinstance(after, Wait | Listen):
                await self._listen(self._scenario.answer_timeout_ms / 1000)

    async def _do(self, step: Step) -> None:
        match step:
            case Say():
                await self._say(step)
            case Press():
                for digit in step.press:
                    self._line.press(digit)
                    await asyncio.sleep(step.between_ms / 1000)
                self._spoke_until = self._line.clock()
            case Type():
                self._line.type(step.type)
                self._spoke_until = self._line.clock()
            case Listen():
                await self._listen(step.listen_ms / 1000)
            case Wait():
                await asyncio.sleep(step.wait_ms / 1000)

    async def _say(self, step: Say) -> None:
        pcm = spoken(step, self._folder)
        loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) > _LOUD)
        if not len(loud):
            raise EvalError(f"{step.wav or step.say!r}: there is no sound in it: say something")
        if step.barge_in_ms is not None:
            await self._until_spoken(step.barge_in_ms / 1000)
        await asyncio.sleep(step.pause_ms / 1000)
        if not self._has_spoken:
            self._has_spoken = True
            loop = asyncio.get_running_loop()
            shift = self._line.clock() - loop.time()
            for outage in self._begin_speech():
                self._record.marks.append(
                    Mark(outage.begin_s + shift, "outage", "nothing passes", outage.end_s + shift)
                )
        began = self._line.clock()
        self._queue.extend(pcm[start : start + len(SILENCE)] for start in range(0, len(pcm), len(SILENCE)))
        try:
            await self._until(lambda: not self._queue)
        finally:
            began = next((at_s for at_s, _ in self._record.said.pieces if at_s >= began - FRAME_S / 4), began)
            end_s = began + float(loud[-1]) / CALLER_HZ
            self._record.utterances.append(
                Utterance(began + float(loud[0]) / CALLER_HZ, end_s, step.words, step.barge_in_ms is not None)
            )
            self._spoke_until = end_s

    async def _until_spoken(self, seconds: float) -> None:
        """Wait until the agent has spoken for so long; a caller whose agent says nothing speaks anyway."""
        give_up_at = self._line.clock() + self._scenario.answer_timeout_ms / 1000
        while (now := self._line.clock()) < give_up_at:
            if self._answer_began is not None and now - self._answer_began >= seconds:
                return
            await asyncio.sleep(_POLL_S)

    async def _listen(self, timeout_s: float) -> None:
        """Wait until the agent has begun since the caller spoke last, and ended."""
        give_up_at = self._line.clock() + timeout_s
        while not self._has_answered():
            if self._line.clock() >= give_up_at:
                return
            await asyncio.sleep(_POLL_S)
        await self._until(lambda: not self._is_agent_speaking())

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Look every 20 ms: what is waited for is the sound, which has no events."""
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)

    def _has_answered(self) -> bool:
        return self._last_played is not None and self._last_played > self._spoke_until

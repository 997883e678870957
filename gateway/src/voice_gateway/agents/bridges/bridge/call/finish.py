"""The end of the caller's side: what was said last is answered, and the call is over."""

from __future__ import annotations

import asyncio
from typing import Final

from voice_gateway.agent.base import Emit, Finished
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.bridges.bridge.call.hearing.caller_speech import CallerSpeech
from voice_gateway.agents.bridges.bridge.call.hearing.uplink_audio import UplinkAudio
from voice_gateway.agents.bridges.bridge.call.session.current_session import CurrentSession
from voice_gateway.agents.bridges.bridge.call.speaking.answers import Answers

SILENCE_MS: Final = 1_500
"""By so much the vendor ends a turn."""
_QUIET_S: Final = 0.3
_POLL_S: Final = 0.05


class BridgeFinish:
    """Gives `silence` as a caller would, faster than in real time, and emits `Finished` once all is answered."""

    def __init__(
        self,
        emit: Emit,
        changes: Changes,
        current: CurrentSession,
        audio: UplinkAudio,
        speech: CallerSpeech,
        answers: Answers,
        silence: bytes,
    ) -> None:
        self._emit = emit
        self._changes = changes
        self._current = current
        self._audio = audio
        self._speech = speech
        self._answers = answers
        self._silence = silence
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Do so now, unless it is under way."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Wait no longer."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        current, audio = self._current, self._audio
        padded, padded_ms = 0, 0.0
        while True:
            if current.is_ready and padded != current.number and audio.newest >= 0:
                padded = current.number
                audio.pad(self._silence)
                current.send(current.session.hear(self._silence))
                padded_ms = audio.position_ms
                current.probe()
            await self._changes.until(lambda: self._answers.is_idle, 1.0)
            has_all = audio.newest < 0 or (padded == current.number and self._speech.received_ms >= padded_ms)
            if self._answers.is_idle and has_all:
                if await self._stays_quiet() and padded in (0, current.number):
                    break
            elif self._answers.is_idle:
                await asyncio.sleep(_POLL_S)
        self._task = None
        self._emit(Finished())

    async def _stays_quiet(self) -> bool:
        """Return whether nothing begins for `_QUIET_S`.

        It looks often: after a stall of the process, one look would come before the events that wait to be read.
        """
        for _ in range(round(_QUIET_S / _POLL_S)):
            await asyncio.sleep(_POLL_S)
            if not self._answers.is_idle:
                return False
        return True

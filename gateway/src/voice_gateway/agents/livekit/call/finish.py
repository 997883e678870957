"""The end of the user's side: what was said last is answered, and the call is over."""

from __future__ import annotations

import asyncio
from typing import Final

from voice_gateway.agent.base import Emit, Finished
from voice_gateway.agent.call.waiting import Changes, sleep_in_steps
from voice_gateway.agents.livekit.audio_io.user_input import CATCH_UP, UserInput
from voice_gateway.agents.livekit.call.speeches import Speeches
from voice_gateway.agents.livekit.call.user_speech import UserSpeech
from voice_gateway.agents.livekit.run import LiveKitRun

_SILENCE_S: Final = 1.5
_WAIT_S: Final = 10.0


class LiveKitFinish:
    """Has LiveKit read silence, by which it ends a turn, and emits `Finished` once it is idle."""

    def __init__(
        self,
        emit: Emit,
        changes: Changes,
        run: LiveKitRun,
        user_input: UserInput,
        speech: UserSpeech,
        speeches: Speeches,
    ) -> None:
        self._emit = emit
        self._changes = changes
        self._run = run
        self._input = user_input
        self._speech = speech
        self._speeches = speeches
        self._task: asyncio.Task[None] | None = None

    def begin(self, session_task: asyncio.Task[None]) -> bool:
        """Do so, or only until `session_task` ends; false where it is under way."""
        if self._task is not None and not self._task.done():
            return False
        self._task = asyncio.get_running_loop().create_task(self._finish(session_task))
        return True

    def close(self) -> None:
        """Wait no longer."""
        if self._task is not None:
            self._task.cancel()

    async def _finish(self, session_task: asyncio.Task[None]) -> None:
        changes, is_over = self._changes, session_task.done
        await changes.until(lambda: self._run.session is not None or is_over())
        self._input.push_silence(_SILENCE_S)
        await changes.until(lambda: is_over() or self._input.is_read, _WAIT_S)
        await sleep_in_steps(_SILENCE_S / CATCH_UP)  # the newest windows of voice activity
        await changes.until(
            lambda: is_over() or (self._input.is_read and self._speech.is_understood and not self._speeches), _WAIT_S
        )
        if not is_over():
            await changes.until(lambda: not self._speeches, _WAIT_S)
        self._task = None
        self._emit(Finished())

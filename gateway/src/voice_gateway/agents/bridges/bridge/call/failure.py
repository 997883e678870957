"""What a caller hears where the vendor fails, before the call ends."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from voice_gateway.agent.base import AgentFailed, Emit, Reply, ReplyAudio, ReplyEnded, StopReply
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.bridges.bridge.call.session.current_session import CurrentSession
from voice_gateway.agents.bridges.bridge.call.speaking.answers import Answers
from voice_gateway.agents.bridges.bridge.call.speaking.spoken_items import SpokenItems
from voice_gateway.agents.bridges.bridge.options import Bridge

_PLAYOUT_GRACE_S: Final = 3.0
_log = structlog.get_logger("voice_gateway.agents.bridges")


class BridgeFailure:
    """The first failure ends the session, has the apology said, and then ends the call."""

    def __init__(
        self,
        emit: Emit,
        changes: Changes,
        bridge: Bridge,
        current: CurrentSession,
        answers: Answers,
        spoken: SpokenItems,
    ) -> None:
        self._emit = emit
        self._changes = changes
        self._bridge = bridge
        self._current = current
        self._answers = answers
        self._spoken = spoken
        self._task: asyncio.Task[None] | None = None

    def begin(self, sentence: str) -> None:
        """The call cannot go on, for this reason."""
        if self._task is None:
            _log.error("bridge_failed", vendor=self._bridge.vendor.name, reason=sentence)
            self._current.close()
            self._task = asyncio.get_running_loop().create_task(self._apologise(sentence))

    def close(self) -> None:
        """Say nothing more."""
        if self._task is not None:
            self._task.cancel()

    async def _apologise(self, sentence: str) -> None:
        apology = self._bridge.apology
        self._emit(StopReply())
        self._answers.cut()
        if apology.audio:
            self._emit(Reply(apology.text))
            self._spoken.begin("apology", apology.text)
            self._emit(ReplyAudio(apology.audio))
            self._emit(ReplyEnded())
            played_s = len(apology.audio) / self._bridge.output_bytes_per_ms / 1000
            await self._changes.until(lambda: not self._spoken.is_outstanding, played_s + _PLAYOUT_GRACE_S)
        self._emit(AgentFailed(sentence))

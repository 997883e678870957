"""What a caller hears where the vendor fails, before the call ends."""

from __future__ import annotations

import asyncio

import structlog

from voice_gateway.agent.base import AgentFailed, Emit, PlaybackFinished
from voice_gateway.agent.last_reply import LastReply
from voice_gateway.agents.bridges.bridge.call.session.current_session import CurrentSession
from voice_gateway.agents.bridges.bridge.call.speaking.answers import Answers
from voice_gateway.agents.bridges.bridge.options import Bridge

_log = structlog.get_logger("voice_gateway.agents.bridges")


class BridgeFailure:
    """The first failure ends the session, has the apology said, and then ends the call."""

    def __init__(self, emit: Emit, bridge: Bridge, current: CurrentSession, answers: Answers) -> None:
        self._emit = emit
        self._bridge = bridge
        self._current = current
        self._answers = answers
        self._last_reply = LastReply(emit, bridge.output_bytes_per_ms * 1000)
        self._task: asyncio.Task[None] | None = None

    def begin(self, sentence: str) -> None:
        """The call cannot go on, for this reason."""
        if self._task is None:
            _log.error("bridge_failed", vendor=self._bridge.vendor.name, reason=sentence)
            self._current.close()
            self._task = asyncio.get_running_loop().create_task(self._apologise(sentence))

    def playback_finished(self, playback: PlaybackFinished) -> None:
        """Take the report about any reply."""
        self._last_reply.playback_finished(playback)

    def close(self) -> None:
        """Say nothing more."""
        if self._task is not None:
            self._task.cancel()

    async def _apologise(self, sentence: str) -> None:
        self._answers.cut()
        await self._last_reply.say(self._bridge.apology)
        self._emit(AgentFailed(sentence))

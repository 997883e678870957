"""The run of a call's pipeline, from its beginning to its end, and what its failure becomes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog

from voice_gateway.agent.apology import Apology
from voice_gateway.agent.base import AgentFailed, Emit, HangUp
from voice_gateway.agent.last_reply import LastReply
from voice_gateway.agents.pipecat.call.call import PipecatCall
from voice_gateway.agents.pipecat.transport.transport import VoiceTransport
from voice_gateway.errors import AgentError, loggable

_CANCEL_AGAIN_S: Final = 30.0
"""Longer than Pipecat gives a cancelled pipeline; one that swallowed its cancellation ends then."""
_log = structlog.get_logger("voice_gateway.agents.pipecat")

Run = Callable[[VoiceTransport, PipecatCall], Awaitable[None]]


class PipelineRun:
    """A pipeline that ends hangs up; one that fails is followed by the apology, and ends the call."""

    def __init__(
        self,
        emit: Emit,
        transport: VoiceTransport,
        last_reply: LastReply,
        apology: Callable[[], Awaitable[Apology]],
    ) -> None:
        self._emit = emit
        self._transport = transport
        self._last_reply = last_reply
        self._apology = apology
        self._task: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()

    def begin(self, run: Run, call: PipecatCall, session_id: str) -> asyncio.Task[None]:
        """Start the pipeline; the task ends with it."""
        self._task = asyncio.get_running_loop().create_task(self._hold(run, call, session_id))
        return self._task

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this beside the pipeline, until `close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def close(self) -> None:
        """Cancel the pipeline, and all beside it."""
        for task in (self._task, *self._background):
            if task is not None:
                task.cancel()
        if self._task is not None and not self._task.done():
            asyncio.get_running_loop().call_later(_CANCEL_AGAIN_S, self._task.cancel)

    async def _hold(self, run: Run, call: PipecatCall, session_id: str) -> None:
        try:
            await run(self._transport, call)
        except Exception as error:
            _log.error("pipecat_agent_failed", session=session_id, **loggable(error))
            await self._last_reply.say(await self._apology())
            reason = str(error) if isinstance(error, AgentError) else f"the agent failed: {type(error).__name__}"
            self._emit(AgentFailed(reason))
        else:
            self._emit(HangUp())
        finally:
            await self._transport.happened("on_client_disconnected")

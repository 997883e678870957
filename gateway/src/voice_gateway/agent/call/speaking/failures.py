"""The one rule for what fails in a call, in any part of its agent: the caller hears the apology, never silence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from voice_gateway.agent.base import AgentFailed, Emit, StopReply
from voice_gateway.agent.call.speaking.replies import Replies, each_of, sentences_of
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.errors import AgentError, ServiceError, StateTooLarge, loggable

_APOLOGY_TIMEOUT_S: Final = 15.0
_QUOTE_NO_CALLER: Final = (ServiceError, StateTooLarge)
"""Errors whose text may be logged."""
_log = structlog.get_logger("voice_gateway.agent.call")


class Failures:
    """Takes what the agent's coroutine raised, and what other parts raise while it runs: the first one counts."""

    def __init__(self, emit: Emit, replies: Replies, changes: Changes, apology: str) -> None:
        self.session_id: str | None = None
        self.is_closed = False
        self._emit = emit
        self._replies = replies
        self._changes = changes
        self._apology = apology
        self._failure: Exception | None = None
        self._running: asyncio.Task[None] | None = None
        replies.on_failure = self.failed

    @property
    def has_failed(self) -> bool:
        """Whether a part beside the coroutine has failed."""
        return self._failure is not None

    def failed(self, error: Exception) -> None:
        """A part beside the coroutine failed: the coroutine is ended, and `of` returns this."""
        if self._failure is None:
            self._failure = error
            if self._running is not None:
                self._running.cancel()
        self._replies.is_caller_speaking = False
        self._changes.notify()

    async def of(self, run: Callable[[], Awaitable[None]]) -> BaseException | None:
        """Run the coroutine, and return what failed, if anything did; raises `CancelledError` where the call is over.

        `sys.exit` of one agent must not end the worker and all its calls.
        """
        task: asyncio.Task[None] | None = asyncio.current_task()
        try:
            if self._failure is None:
                self._running = task
                await run()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except asyncio.CancelledError as error:
            if self._failure is not None and not self.is_closed:
                if task is not None:
                    task.uncancel()
                return self._failure
            if self.is_closed or (task is not None and task.cancelling() > 0):
                raise
            return error  # of something that the coroutine waited for
        except BaseException as error:
            return error
        finally:
            self._running = None
        return self._failure

    async def apologise(self, error: BaseException) -> None:
        """Log what was raised, without the text of errors that may quote the caller, and say the apology."""
        _log.error(
            "call_agent_failed",
            session=self.session_id,
            reason=str(error) if isinstance(error, _QUOTE_NO_CALLER) else None,
            **loggable(error),
        )
        self._emit(StopReply())
        self._replies.cut_off()
        with suppress(AgentError, TimeoutError):
            async with asyncio.timeout(_APOLOGY_TIMEOUT_S):
                if self._apology:
                    await self._replies.say(sentences_of(each_of([self._apology])))

    async def end(self, error: BaseException) -> None:
        """Apologise, and end the session."""
        self._failure = self._failure or (error if isinstance(error, Exception) else AgentError("the agent failed"))
        await self.apologise(error)
        self._emit(AgentFailed(f"the agent failed: {type(error).__name__}"))

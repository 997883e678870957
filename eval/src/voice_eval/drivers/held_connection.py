"""The task behind a line that dials again when its connection breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from voice_eval.call.record import Mark
from voice_eval.drivers.base import Line
from voice_eval.errors import CallFailed, EvalError


class HeldConnection:
    """Runs what dials again and again. The line's record says each connection, its `fault` why there is none any more.

    `noun` is what a connection is called in the record.
    """

    def __init__(self, line: Line, noun: str = "connection") -> None:
        self._line = line
        self._noun = noun
        self._task: asyncio.Task[str | None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self.count = 0
        """How many connections there were."""

    async def open(self, dialling: Coroutine[Any, Any, str | None]) -> None:
        """Run `dialling` until its first connection; it returns why it gives up, `None` where the caller hung up.

        Raises `CallFailed` where it gives up before there was a connection.
        """
        self._ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(dialling)
        self._task.add_done_callback(self._ended)
        await self._ready

    @property
    def is_open(self) -> bool:
        """Whether there was a connection."""
        return self.count > 0

    def connected(self) -> None:
        """A connection takes audio now."""
        self.count += 1
        if self.count > 1:
            self._line.record.marks.append(Mark(self._line.clock(), "reconnected", f"{self._noun} {self.count}"))
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _ended(self, task: asyncio.Task[str | None]) -> None:
        if self._ready is None or self._ready.cancelled():
            return
        if task.cancelled():
            self._ready.cancel()
            return
        match task.exception():
            case None:
                reason = task.result()
            case EvalError() as error:
                reason = str(error)
            case error:
                reason = f"{type(error).__name__}: {error}"
        if not self._ready.done():
            self._ready.set_exception(CallFailed(reason or "the caller hung up before there was a connection"))
        elif reason is not None:
            self._line.fault = reason

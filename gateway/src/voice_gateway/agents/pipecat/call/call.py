"""What a pipeline may know of its call, and the journal in which its tools are written down."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from voice_gateway.agents.pipecat.call.feed import PipelineFeed
from voice_gateway.agents.pipecat.call.progress import PipelineProgress

DirectFunction = Callable[..., Awaitable[None]]


class PipecatCall:
    """One call, as `PipecatAgent.pipeline` gets it."""

    def __init__(self, progress: PipelineProgress, feed: PipelineFeed) -> None:
        self._progress = progress
        self._feed = feed

    @property
    def session_id(self) -> str:
        """The same at every worker that goes on with the call."""
        return self._progress.session_id

    @property
    def is_restored(self) -> bool:
        """Whether another worker, or an earlier pipeline, has had this call."""
        return self._progress.is_restored

    @property
    def state(self) -> dict[str, Any]:
        """What is saved with the call and shown to its client: plain values, to be changed in place."""
        return self._progress.state

    def tool(self, function: DirectFunction) -> DirectFunction:
        """Return a direct function, for the tools of an `LLMContext`, whose calls are written down.

        The call is saved before it is made, and its result before the pipeline gets it. Where another worker repeats
        the turn, a finished call returns its saved result, and one that had not returned is made again with the same
        `params.tool_call_id`: hand that to the service as its idempotency key.
        """

        @functools.wraps(function)
        async def journalled(params: Any, **arguments: Any) -> None:
            returned: list[tuple[Any, Any]] = []

            async def keep(result: Any, *, properties: Any = None) -> None:
                returned.append((result, properties))

            async def run(key: str, **given: Any) -> Any:
                await function(replace(params, tool_call_id=key, result_callback=keep), **given)
                return returned[-1][0] if returned else None

            run.__name__ = function.__name__
            await self._feed.until_understood()
            result = await self._progress.tool(run, arguments)
            await params.result_callback(result, properties=returned[-1][1] if returned else None)

        return journalled

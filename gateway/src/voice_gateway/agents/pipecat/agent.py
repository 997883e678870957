"""The base class of agents that are Pipecat pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, ClassVar, Final

from loguru import logger
from pipecat.frames.frames import ErrorFrame
from pipecat.pipeline.base_pipeline import BasePipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker, ProcessorUnusablePolicy
from pipecat.workers.runner import WorkerRunner

from voice_gateway.agent.apology import SORRY, offline_apology
from voice_gateway.agent.base import Agent, Conversation, Emit
from voice_gateway.agents.pipecat.call.call import PipecatCall
from voice_gateway.agents.pipecat.conversation import PipecatConversation
from voice_gateway.agents.pipecat.transport.transport import VoiceTransport
from voice_gateway.errors import AgentError

_IMPORTED_BY_CALLS: Final = (
    "pipecat.adapters.llm.services.open_ai_adapter",
    "pipecat.audio.turn.smart_turn.local_smart_turn_v3",
    "pipecat.audio.turn.smart_turn.data",
    "pipecat.audio.vad.silero",
    "pipecat.audio.vad.data",
)
"""Pipecat imports these when a pipeline first needs them, some 600 modules: in a call they would hold the loop up."""
_CANCELLATIONS: Final = 3
_CANCEL_TIMEOUT_S: Final = 5.0
"""A pipeline that swallowed its cancellation is cancelled again after so long."""


class PipecatAgent(Agent):
    """Override `pipeline`; or `run`, for a bot that makes and runs its worker itself.

    Each call has a pipeline and a runner of its own: what ends or cancels one of them leaves the others alone.
    """

    requires = ("pipecat",)
    install = "voice-gateway[pipecat]"
    has_logs: ClassVar[bool] = False
    """Whether Pipecat may log. Its lines quote what is said."""

    apology: str = SORRY
    """What a caller hears, by the offline voice, where the pipeline cannot be made or run; empty is silence."""

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings
        self._conversations: dict[asyncio.Task[None], PipecatConversation] = {}

    async def pipeline(self, transport: VoiceTransport, call: PipecatCall) -> BasePipeline | PipelineWorker:
        """Make the pipeline of a call, from `transport.input()` to `transport.output()` and beyond.

        A worker of your own wants the agent's sample rates (`PipelineParams`) and `idle_timeout_secs=None`: silent
        callers are the session's to end. It runs again where another worker goes on with the call.
        """
        raise NotImplementedError(f"{type(self).__name__} must define pipeline, or run")

    async def run(self, transport: VoiceTransport, call: PipecatCall) -> None:
        """Run the call's pipeline to its end, which ends the call. It is cancelled when the call is over."""
        made = await self.pipeline(transport, call)
        is_own = not isinstance(made, PipelineWorker)
        worker = self.worker(made) if not isinstance(made, PipelineWorker) else made
        failures: list[str] = []

        @worker.event_handler("on_pipeline_error")  # type: ignore[untyped-decorator,unused-ignore]  # pipecat's
        async def on_pipeline_error(_worker: PipelineWorker, frame: ErrorFrame) -> None:
            is_unusable = is_own and frame.processor is not None and not frame.processor.is_usable
            if frame.fatal or is_unusable:
                failures.append(type(frame.processor).__name__ if frame.processor else "the pipeline")

        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await runner.run()
        if failures:
            raise AgentError(f"Pipecat's {failures[0]} can no longer do its job")

    def worker(self, pipeline: BasePipeline) -> PipelineWorker:
        """Return a worker for the pipeline, with the agent's sample rates and without Pipecat's idle timeout.

        A service that can no longer do its job, as one whose key is refused, ends the call with the apology.
        """
        params = PipelineParams(audio_in_sample_rate=self.input_rate_hz, audio_out_sample_rate=self.output_rate_hz)
        return PipelineWorker(
            pipeline,
            params=params,
            idle_timeout_secs=None,
            processor_unusable_policy=ProcessorUnusablePolicy.CANCEL,
        )

    async def open(self) -> None:
        """Import what calls need, silence Pipecat's log, unless `has_logs`, and make the apology."""
        await asyncio.to_thread(_import_ahead)
        if not self.has_logs:
            logger.disable("pipecat")
        await offline_apology(self.apology, self.output_rate_hz)

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        rates_hz = (self.input_rate_hz, self.output_rate_hz)
        return PipecatConversation(self.run, rates_hz, emit, state, self._began, self.apology)

    async def close(self) -> None:
        """Close all conversations, and wait for their pipelines."""
        for _ in range(_CANCELLATIONS):
            pending = dict(self._conversations)
            for conversation in pending.values():
                conversation.close()
            if not pending:
                break
            await asyncio.wait(pending, timeout=_CANCEL_TIMEOUT_S)

    def _began(self, task: asyncio.Task[None], conversation: PipecatConversation) -> None:
        self._conversations[task] = conversation
        task.add_done_callback(self._conversations.pop)


def _import_ahead() -> None:
    for module in _IMPORTED_BY_CALLS:
        with suppress(ImportError):  # another version of pipecat-ai has it elsewhere, or an extra of it is missing
            import_module(module)

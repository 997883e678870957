"""A Pipecat pipeline that echoes: what a caller hears of itself has been through the whole pipeline, without VAD."""

from __future__ import annotations

import asyncio
import time
import warnings
from typing import Any, Final

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.workers.runner import WorkerRunner

from bench.peers.frameworks.sound import is_sound

RATE_HZ: Final = 16_000
LOW_DELAY: Final[dict[str, Any]] = {"audio_in_enabled": True, "audio_out_enabled": True, "audio_out_10ms_chunks": 2}
"""For parameters of a transport: it writes frames of 20 ms in place of 40."""

Arrivals = list[tuple[int, float]]


class Echo(FrameProcessor):
    """Sends sound back, and notes when each frame of it came."""

    def __init__(self, arrivals: Arrivals) -> None:
        super().__init__()
        self._arrivals = arrivals

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take a frame."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, InputAudioRawFrame):
            await self.push_frame(frame, direction)
        elif is_sound(frame.audio):
            self._arrivals.append((len(self._arrivals), time.monotonic()))
            await self.push_frame(OutputAudioRawFrame(frame.audio, frame.sample_rate, frame.num_channels))


class Echoes:
    """Runs a pipeline for each transport, and keeps what came by call."""

    def __init__(self) -> None:
        self.arrivals: list[Arrivals] = []
        self._calls: set[asyncio.Task[None]] = set()

    def start(self, transport: Any) -> None:
        """Run a pipeline in a task of its own."""
        arrivals: Arrivals = []
        self.arrivals.append(arrivals)
        task = asyncio.create_task(self._run(transport, arrivals))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _run(self, transport: Any, arrivals: Arrivals) -> None:
        params = PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ)
        pipeline = Pipeline([transport.input(), Echo(arrivals), transport.output()])
        worker = PipelineWorker(pipeline, params=params, idle_timeout_secs=None)

        @transport.event_handler("on_client_disconnected")
        async def on_client_disconnected(_transport: Any, *_client: Any) -> None:
            await worker.cancel()

        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await runner.run()

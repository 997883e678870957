"""`moq_echo.py HOST:PORT CERTIFICATE KEY`: Pipecat pipelines that echo audio over Pipecat's MoQ transport, on uvloop.

POST / starts a pipeline, as Pipecat's own runner does for each call, and returns the UDP address at which it serves its
caller. The transport decodes what it hears and encodes what it says: there is no other way through a pipeline. RTVI,
turn tracking, conversion of rates and the wait for chunks of 40 ms are left out.
Runs in the environment of `make agents`: it imports nothing of the project.
"""

import asyncio
import socket
import sys
import warnings

import uvloop
from aiohttp import web

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from loguru import logger
    from pipecat.frames.frames import (
        Frame,
        InputAudioRawFrame,
        InputTransportMessageFrame,
        OutputAudioRawFrame,
        OutputTransportMessageUrgentFrame,
    )
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.transports.moq.transport import MOQParams, MOQTransport
    from pipecat.workers.runner import WorkerRunner

RATE_HZ = 48_000
"""That of Opus, at which nothing is converted: a session takes a fifth less CPU than at 16 kHz, and 20 ms less time."""
_START_TIMEOUT_S = 10.0


class EchoAudio(FrameProcessor):  # type: ignore[misc]  # Pipecat is not in the project's environment
    """Says what it hears."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            frame = OutputAudioRawFrame(frame.audio, frame.sample_rate, frame.num_channels)
        await self.push_frame(frame, direction)


class EchoMessages(FrameProcessor):  # type: ignore[misc]
    """Returns the caller's messages, which the transport's input sends upstream."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputTransportMessageFrame):
            await self.push_frame(OutputTransportMessageUrgentFrame(frame.message))
        else:
            await self.push_frame(frame, direction)


async def serve(address: str, certificate: str, key: str, is_up: asyncio.Event) -> None:
    """Serve one caller until it leaves."""
    transport = MOQTransport(
        MOQParams(
            serve=True,
            bind=address,
            serve_tls_cert=certificate,
            serve_tls_key=key,
            audio_in_enabled=True,
            audio_out_enabled=True,
            audio_in_sample_rate=RATE_HZ,
            audio_out_sample_rate=RATE_HZ,
            audio_out_10ms_chunks=2,
        )
    )
    worker = PipelineWorker(
        Pipeline([EchoMessages(), transport.input(), EchoAudio(), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
        idle_timeout_secs=None,
        enable_rtvi=False,
        enable_turn_tracking=False,
        check_dangling_tasks=False,
    )

    async def connected(*_: object) -> None:
        is_up.set()

    async def left(*_: object) -> None:
        await worker.cancel()

    transport.add_event_handler("on_connected", connected)
    transport.add_event_handler("on_client_disconnected", left)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def free_address(host: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind((host, 0))
        return f"{host}:{held.getsockname()[1]}"


async def main(address: str, certificate: str, key: str) -> None:
    logger.remove()
    logger.add(sys.stderr, level="ERROR", backtrace=False, diagnose=False)
    host, _, port = address.rpartition(":")
    pipelines: set[asyncio.Task[None]] = set()

    async def start(request: web.Request) -> web.Response:
        media, is_up = free_address(host), asyncio.Event()
        pipeline = asyncio.create_task(serve(media, certificate, key, is_up))
        pipelines.add(pipeline)
        pipeline.add_done_callback(pipelines.discard)
        await asyncio.wait_for(is_up.wait(), _START_TIMEOUT_S)
        return web.Response(text=media)

    application = web.Application()
    application.router.add_post("/", start)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, int(port)).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))

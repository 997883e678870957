"""The pipeline, the same behind each transport: it hears words that are tones, and answers with such words.

`python -m bench.pipelines.bot websocket|moq HOST PORT` serves one caller with one of Pipecat's own transports, and
prints `{}` once callers can connect; `Bot` is the agent of a worker. The context is written to the file that `CONTEXT`
names.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import warnings
import wave
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from loguru import logger
    from pipecat.frames.frames import Frame, TranscriptionFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import (
        LLMContextAggregatorPair,
        LLMUserAggregatorParams,
    )
    from pipecat.serializers.protobuf import ProtobufFrameSerializer
    from pipecat.services.settings import STTSettings
    from pipecat.services.stt_service import SegmentedSTTService
    from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
    from pipecat.turns.user_turn_strategies import UserTurnStrategies
    from pipecat.workers.runner import WorkerRunner

    from testbed.pipecat_services import RATE_HZ, WORD_S, EnergyVAD, FunctionLLM, ToneTTS

from bench.pipelines.words import ANSWER, INTERRUPTION, LAST_ANSWER, SAID_WORD_S, recognised, sound
from voice_gateway.agents.pipecat import PipecatAgent

_WRITTEN_EVERY_S: Final = 0.1
_writing: set[asyncio.Task[None]] = set()


class WordSTT(SegmentedSTTService):
    """Recognises the words of which half has come."""

    def __init__(self) -> None:
        super().__init__(settings=STTSettings(model=None, language=None), ttfs_p99_latency=0.1)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame, None]:
        with wave.open(io.BytesIO(audio)) as file:
            words = recognised(file.readframes(file.getnframes()), file.getframerate(), SAID_WORD_S)
        if words:
            yield TranscriptionFrame(" ".join(words), "", "2026-01-01T00:00:00Z")


class WordTTS(ToneTTS):
    """Says each word as its tone, with its time."""

    def sound(self, word: str) -> bytes:
        return sound(word, RATE_HZ, WORD_S)


def rule(messages: list[dict[str, Any]]) -> str:
    """Answer at length, and with one word once interrupted."""
    return LAST_ANSWER if INTERRUPTION[-1] in messages[-1]["content"] else " ".join(ANSWER)


def pipeline(transport: Any) -> Any:
    """Return the pipeline, whose context is written to a file as it changes."""
    context = LLMContext()
    strategies = UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.1)])
    user = LLMUserAggregatorParams(vad_analyzer=EnergyVAD(stop_s=0.6), user_turn_strategies=strategies)
    pair = LLMContextAggregatorPair(context, user_params=user)
    task = asyncio.get_running_loop().create_task(_write(context, Path(os.environ["CONTEXT"])))
    _writing.add(task)
    return Pipeline(
        [
            transport.input(),
            WordSTT(),
            pair.user(),
            FunctionLLM(rule),
            WordTTS(),
            transport.output(),
            pair.assistant(),
        ]
    )


async def _write(context: Any, path: Path) -> None:
    while True:
        lines = [[each["role"], each["content"]] for each in context.get_messages()]
        draft = path.with_suffix(".draft")  # a file that is read is whole
        draft.write_text(json.dumps(lines))
        draft.replace(path)
        await asyncio.sleep(_WRITTEN_EVERY_S)


class Bot(PipecatAgent):
    """The pipeline behind the gateway."""

    async def pipeline(self, transport: Any, call: Any) -> Any:
        """Make it."""
        return pipeline(transport)


async def serve(kind: str, host: str, port: int) -> None:
    """Serve one caller."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    transport = _websocket(host, port) if kind == "websocket" else _moq(host, port)

    async def ready(*_: object) -> None:
        print("{}", flush=True)

    transport.add_event_handler("on_websocket_ready" if kind == "websocket" else "on_connected", ready)
    params = PipelineParams(audio_in_sample_rate=16_000, audio_out_sample_rate=RATE_HZ)
    worker = PipelineWorker(pipeline(transport), params=params, idle_timeout_secs=None)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def _websocket(host: str, port: int) -> Any:
    from pipecat.transports.websocket.server import (
        SingleClientWebsocketServerParams,
        SingleClientWebsocketServerTransport,
    )

    params = SingleClientWebsocketServerParams(
        audio_in_enabled=True, audio_out_enabled=True, serializer=ProtobufFrameSerializer()
    )
    return SingleClientWebsocketServerTransport(params=params, host=host, port=port)


def _moq(host: str, port: int) -> Any:
    from pipecat.transports.moq.transport import MOQParams, MOQTransport

    params = MOQParams(serve=True, bind=f"{host}:{port}", audio_in_enabled=True, audio_out_enabled=True)
    return MOQTransport(params=params)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))

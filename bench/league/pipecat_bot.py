"""The order agent as a Pipecat pipeline of its own, as Pipecat's documentation has one serve it.

`python -m bench.league.pipecat_bot PORT [RELAY]` serves calls at `ws://127.0.0.1:PORT/ws` (protobuf frames), where
aiortc is installed at `http://127.0.0.1:PORT/api/offer` (SmallWebRTC), and where moq-rs is installed as
`http://127.0.0.1:PORT/start` says (MoQ): by itself, or with the URL of a relay through that. Recogniser, dialogue and
voice are those of the order agent; what differs is what carries them. Needs pipecat-ai, fastapi and uvicorn.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import socket
import sys
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi.frames import RTVIServerMessageFrame
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

from voice_gateway.agent.cascade.bandwidth import WidebandRecogniser
from voice_gateway.agents.order.dialogue import Dialogue, answer, greeting
from voice_gateway.agents.order.hearing.recogniser_process import ProcessRecogniser
from voice_gateway.agents.order.menu import default_menu
from voice_gateway.agents.order.understanding.grammar import Lexicon
from voice_gateway.agents.order.understanding.parse import parse
from voice_gateway.agents.pipecat.offline import RecogniserSTTService, SpeechTTSService
from voicelink.audio.speech import CachedSpeech, HibariSpeech

MENU = default_menu()
LEXICON = Lexicon(MENU)
_START_TIMEOUT_S = 15.0


class OrderModel(FrameProcessor):
    """Stands where a language model does: answers the last message of the context, and sends the state."""

    def __init__(self) -> None:
        super().__init__()
        self.dialogue = Dialogue(MENU)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        words = tuple(frame.context.get_messages()[-1]["content"].split())
        self.dialogue, text = answer(self.dialogue, parse(words, LEXICON))
        await self.push_frame(RTVIServerMessageFrame(data={"state": self.dialogue.to_state()}))
        await self.push_frame(LLMFullResponseStartFrame())
        await self.push_frame(LLMTextFrame(text))
        await self.push_frame(LLMFullResponseEndFrame())


class Bot:
    """Runs a pipeline for each caller."""

    def __init__(self) -> None:
        self.speech = CachedSpeech(HibariSpeech())
        self.recogniser = WidebandRecogniser(ProcessRecogniser(MENU))
        self._calls: set[asyncio.Task[None]] = set()

    def start(self, transport: BaseTransport) -> None:
        """Run a pipeline in a task of its own."""
        task = asyncio.create_task(self.run(transport))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def run(self, transport: BaseTransport) -> None:
        vad = SileroVADAnalyzer()
        pair = LLMContextAggregatorPair(LLMContext(), user_params=LLMUserAggregatorParams(vad_analyzer=vad))
        pipeline = Pipeline(
            [
                transport.input(),
                RecogniserSTTService(self.recogniser),
                pair.user(),
                OrderModel(),
                SpeechTTSService(self.speech),
                transport.output(),
                pair.assistant(),
            ]
        )
        params = PipelineParams(audio_in_sample_rate=16_000, audio_out_sample_rate=24_000)
        worker = PipelineWorker(pipeline, params=params)

        @worker.rtvi.event_handler("on_client_ready")
        async def on_client_ready(_rtvi: Any) -> None:
            # what is said before is lost where a caller subscribes to the audio
            await transport.input().queue_frame(TTSSpeakFrame(greeting(Dialogue(MENU))))

        @transport.event_handler("on_client_disconnected")
        async def on_client_disconnected(_transport: BaseTransport, *_client: Any) -> None:
            await worker.cancel()

        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await runner.run()


def application(relay: str | None = None) -> FastAPI:
    bot = Bot()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> Any:
        await bot.recogniser.open()
        yield
        await bot.recogniser.close()

    app = FastAPI(lifespan=lifespan)

    @app.websocket("/ws")
    async def over_websocket(socket: WebSocket) -> None:
        await socket.accept()
        serializer = ProtobufFrameSerializer()
        params = FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer)
        await bot.run(FastAPIWebsocketTransport(socket, params))

    _add_webrtc(app, bot)
    _add_moq(app, bot, relay)
    return app


def _add_webrtc(app: FastAPI, bot: Bot) -> None:
    try:
        from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
        from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
    except Exception:  # Pipecat raises a plain one where aiortc is missing
        return

    @app.post("/api/offer")
    async def over_webrtc(offer: dict[str, Any]) -> Any:
        connection = SmallWebRTCConnection()
        await connection.initialize(sdp=offer["sdp"], type=offer["type"])
        params = TransportParams(audio_in_enabled=True, audio_out_enabled=True)
        bot.start(SmallWebRTCTransport(connection, params))
        return connection.get_answer()


def _add_moq(app: FastAPI, bot: Bot, relay: str | None) -> None:
    """Answer as Pipecat's runner does; without a relay, a call has a UDP port of its own in this process."""
    try:
        from pipecat.transports.moq.transport import MOQParams, MOQTransport
    except Exception:  # Pipecat raises a plain one where moq-rs is missing
        return

    @app.post("/start")
    async def over_moq() -> dict[str, Any]:
        params = MOQParams(audio_in_enabled=True, audio_out_enabled=True)
        if relay is None:
            port = _free_udp_port()
            url = f"https://127.0.0.1:{port}/moq"
            params = params.model_copy(update={"serve": True, "bind": f"127.0.0.1:{port}"})
        else:
            url = relay
            own = {"relay_url": relay, "namespace": f"pipecat-{secrets.token_hex(8)}", "verify_ssl": False}
            params = params.model_copy(update=own)
        transport = MOQTransport(params)
        is_up = asyncio.Event()

        @transport.event_handler("on_connected")
        async def on_connected(_transport: BaseTransport) -> None:
            is_up.set()

        bot.start(transport)
        async with asyncio.timeout(_START_TIMEOUT_S):
            await is_up.wait()
        hashes = [base64.b64encode(bytes.fromhex(each)).decode() for each in transport.cert_fingerprints]
        config = {"relayUrl": url, "certHash": hashes[0] if hashes else None, "serve": relay is None}
        names = {"namespace": params.namespace, "clientId": params.peer_id, "botId": params.participant_id}
        return {"moq": {**config, **names}}


def _free_udp_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


if __name__ == "__main__":
    relay = sys.argv[2] if len(sys.argv) > 2 else None
    uvicorn.run(application(relay), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")

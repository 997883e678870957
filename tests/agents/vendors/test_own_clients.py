"""The local vendor servers, with the vendors' own clients: what those send and understand is what the servers play."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import deepgram.agent.v1.types as dg
import pytest
from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment
from elevenlabs import ElevenLabs
from google import genai
from google.genai import types as gm
from websockets.asyncio.client import connect

from testbed.waiting import until
from tests.agents.support.vendors.brain import TOOL
from tests.agents.support.vendors.deepgram import DeepgramSession
from tests.agents.support.vendors.elevenlabs import AGENT_ID, ElevenLabsSession, check
from tests.agents.support.vendors.gemini import GeminiSession
from tests.agents.support.vendors.server import KEY, VendorServer, VendorSession, Violation, vendor_server
from tests.agents.vendors.conftest import Tls
from tests.unit.recordings import recording
from voice_gateway.agent.cascade.cascade import Cascade

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it names a class of websockets that is to go
    from elevenlabs.conversational_ai.conversation import (
        AsyncAudioInterface,
        AsyncConversation,
        ClientTools,
        ConversationInitiationData,
    )

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")

SILENCE = bytes(32_000)
SPEECH = recording("slt_order") + SILENCE
WORDS = "can i have a brown sugar milk tea with half sugar and grass jelly"
SECOND = recording("rms_change") + SILENCE
SECOND_WORDS = "change the matcha latte two large"


async def frames(pcm: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(pcm), 640):
        yield pcm[start : start + 640]
        await asyncio.sleep(0)


class Deepgram:
    """deepgram-sdk, with the answers of a tool."""

    def __init__(self, server: VendorServer) -> None:
        url = server.url
        self.client = AsyncDeepgramClient(
            api_key=KEY, environment=DeepgramClientEnvironment(base=url, production=url, agent=url, agent_rest=url)
        )

    def settings(self, **agent: Any) -> dg.AgentV1Settings:
        function = {"name": TOOL, "description": "Take an order.", "parameters": {"type": "object", "properties": {}}}
        think = {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}, "prompt": "x", "functions": [function]}
        audio = {
            "input": {"encoding": "linear16", "sample_rate": 16_000},
            "output": {"encoding": "linear16", "sample_rate": 24_000, "container": "none"},
        }
        return dg.AgentV1Settings(audio=audio, agent={"think": think, **agent})


async def test_deepgrams_own_client_speaks_to_the_local_server(ears: Cascade) -> None:
    async with vendor_server(ears, DeepgramSession) as server:
        mine = Deepgram(server)
        seen: list[str] = []
        played = 0
        said: list[tuple[str, str]] = []

        async with mine.client.agent.v1.connect() as socket:
            await socket.send_settings(mine.settings(greeting="Hi."))
            async with asyncio.timeout(60):
                async for event in socket:
                    if isinstance(event, bytes):
                        played += len(event)
                        continue
                    seen.append(event.type)
                    if event.type == "SettingsApplied":
                        async for frame in frames(SPEECH):
                            await socket.send_media(frame)
                    elif event.type == "ConversationText":
                        said.append((event.role, event.content))
                    elif event.type == "FunctionCallRequest":
                        call = event.functions[0]
                        await socket.send_function_call_response(
                            dg.AgentV1SendFunctionCallResponse(id=call.id, name=call.name, content="done")
                        )
                    elif event.type == "AgentAudioDone" and said[-1] == ("assistant", "Sentence 1: done."):
                        break
        assert server.violations == []
        assert said == [("assistant", "Hi."), ("user", WORDS), ("assistant", "Sentence 1: done.")]
        assert seen[:2] == ["Welcome", "SettingsApplied"]
        assert "UserStartedSpeaking" in seen
        assert played > 24_000


class Microphone(AsyncAudioInterface):
    def __init__(self, pcm: bytes) -> None:
        self.pcm = pcm
        self.played = 0
        self.interruptions = 0
        self.played_after: list[int] = []
        self.send: Callable[[bytes], Awaitable[None]] | None = None

    async def start(self, input_callback: Callable[[bytes], Awaitable[None]]) -> None:
        self.send = input_callback
        self.speaking = asyncio.get_running_loop().create_task(self.speak(self.pcm))

    async def speak(self, pcm: bytes) -> None:
        assert self.send is not None
        async for frame in frames(pcm):
            await self.send(frame)

    async def stop(self) -> None: ...

    async def output(self, audio: bytes) -> None:
        self.played += len(audio)

    async def interrupt(self) -> None:
        self.interruptions += 1
        self.played_after.append(self.played)


async def test_elevenlabs_own_client_speaks_to_the_local_server(ears: Cascade) -> None:
    async with vendor_server(ears, ElevenLabsSession) as server:
        server.offers_tools = True
        said: list[str] = []
        tools = ClientTools(loop=asyncio.get_running_loop())  # in a thread of its own it would garble the WebSocket

        async def take(parameters: dict[str, Any]) -> str:
            return f"took {parameters['words']}"

        tools.register(TOOL, take, is_async=True)
        microphone = Microphone(SPEECH)

        async def heard(text: str) -> None:
            said.append(text)

        first = {"agent": {"first_message": "Hi."}}
        conversation = AsyncConversation(
            ElevenLabs(api_key=KEY, base_url=server.http_url),
            AGENT_ID,
            requires_auth=True,
            audio_interface=microphone,
            client_tools=tools,
            callback_agent_response=heard,
            callback_user_transcript=heard,
            config=ConversationInitiationData(conversation_config_override=first),
        )
        await conversation.start_session()
        await until(lambda: len(said) == 3)
        await until(lambda: server.sessions[0].received.count("pong") > 2)
        await microphone.speak(SECOND)
        await until(lambda: len(said) == 5)
        assert server.violations == []
        server.cut()
        await conversation.wait_for_session_end()
        assert said[:3] == ["Hi.", WORDS, f"Sentence 1: took {WORDS}."]
        assert said[3:] == [SECOND_WORDS, f"Sentence 2: took {SECOND_WORDS}."]
        assert microphone.interruptions == 1


async def test_geminis_own_client_speaks_to_the_local_server(ears: Cascade, tls: Tls) -> None:
    async with vendor_server(ears, GeminiSession, tls.server) as server:
        client = genai.Client(
            api_key=KEY,
            http_options=gm.HttpOptions(base_url=server.http_url, async_client_args={"ssl": tls.client}),
        )
        declaration = gm.FunctionDeclaration(name=TOOL, description="Take an order.")
        config = gm.LiveConnectConfig(
            response_modalities=[gm.Modality.AUDIO],
            input_audio_transcription=gm.AudioTranscriptionConfig(),
            output_audio_transcription=gm.AudioTranscriptionConfig(),
            session_resumption=gm.SessionResumptionConfig(),
            context_window_compression=gm.ContextWindowCompressionConfig(sliding_window=gm.SlidingWindow()),
            realtime_input_config=gm.RealtimeInputConfig(
                automatic_activity_detection=gm.AutomaticActivityDetection(silence_duration_ms=500)
            ),
            system_instruction="x",
            tools=[gm.Tool(function_declarations=[declaration])],
        )
        heard = answered = ""
        handle = None
        played = 0
        async with client.aio.live.connect(model="gemini-live", config=config) as session:
            async for frame in frames(SPEECH):
                await session.send_realtime_input(audio=gm.Blob(data=frame, mime_type="audio/pcm;rate=16000"))
            async with asyncio.timeout(60):
                async for message in session.receive():
                    content = message.server_content
                    if content is not None:
                        heard += content.input_transcription.text or "" if content.input_transcription else ""
                        answered += content.output_transcription.text or "" if content.output_transcription else ""
                    if message.data:
                        played += len(message.data)
                    if message.session_resumption_update and message.session_resumption_update.new_handle:
                        handle = message.session_resumption_update.new_handle
                    if message.tool_call and message.tool_call.function_calls:
                        call = message.tool_call.function_calls[0]
                        response = gm.FunctionResponse(id=call.id, name=call.name, response={"result": "done"})
                        await session.send_tool_response(function_responses=[response])
        assert server.violations == []
        assert (heard.strip(), answered) == (WORDS, "Sentence 1: done.")
        assert handle == "handle-1-1"
        assert played > 24_000


@pytest.mark.parametrize(
    ("kind", "path", "message", "fault"),
    [
        (DeepgramSession, "/v1/agent/converse", '{"type": "KeepAlive"}', "Settings comes first"),
        (DeepgramSession, "/v1/agent/converse", '{"type": "KeepAlive", "x": 1}', "unknown keys x"),
        (DeepgramSession, "/v1/agent/converse", '{"type": "Nope"}', "unknown type Nope"),
        (ElevenLabsSession, "", '{"type": "pong", "event_id": 1}', "comes first"),
        (ElevenLabsSession, "", '{"type": "pong"}', "lacks event_id"),
        (ElevenLabsSession, "", '{"type": "pong", "event_id": 1, "x": 1}', "unknown keys x"),
        (GeminiSession, "", '{"realtimeInput": {}}', "setup comes first"),
        (GeminiSession, "", '{"setup": {"model": "models/x", "x": 1}}', "Extra inputs are not permitted"),
        (GeminiSession, "", '{"setup": {"model": "gemini"}}', "must begin with models/"),
    ],
)
async def test_a_message_of_a_wrong_shape_or_at_a_wrong_time_ends_the_session(
    ears: Cascade, kind: type[VendorSession], path: str, message: str, fault: str
) -> None:
    async with vendor_server(ears, kind) as server:
        query = f"?agent_id={AGENT_ID}&conversation_signature=signed&key={KEY}"
        headers = {"Authorization": f"Token {KEY}"}
        async with connect(f"{server.url}{path or kind.path}{query}", additional_headers=headers) as socket:
            await socket.send(message)
            await socket.wait_closed()
        assert socket.close_code == 1008
        assert len(server.violations) == 1
        assert fault in server.violations[0]


def test_the_schema_tells_elevenlabs_messages_apart() -> None:
    check({"type": "ping", "ping_event": {"event_id": 1, "ping_ms": None}}, "Down")
    with pytest.raises(Violation, match="unknown keys x"):
        check({"type": "ping", "ping_event": {"event_id": 1, "x": None}}, "Down")
    with pytest.raises(Violation, match="is no number"):
        check({"type": "ping", "ping_event": {"event_id": "1"}}, "Down")
    with pytest.raises(Violation, match="is no string"):
        check({"type": "client_tool_result", "tool_call_id": "1", "result": {}, "is_error": False}, "Up")

"""The order agent as an agent of LiveKit Agents, as its documentation has one serve rooms.

`python -m bench.league.livekit_bot PORT` registers at the server that LIVEKIT_URL, LIVEKIT_API_KEY and
LIVEKIT_API_SECRET name, listens on PORT from then on, and takes each room in a process of its own, which waits for it
with the recogniser loaded. Recogniser, dialogue and voice are those of the order agent; what differs is what carries
them, and LiveKit's own voice activity detection and turns. Needs livekit-agents.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    APIConnectOptions,
    JobContext,
    JobProcess,
    llm,
)
from livekit.agents.inference import VAD
from livekit.agents.voice.room_io import AudioInputOptions, RoomOptions

from testbed.livekit_services import HEARS_AT_HZ, SentenceSTT, SentenceTTS
from voice_gateway.agent.cascade.bandwidth import WidebandRecogniser
from voice_gateway.agents.order.dialogue import Dialogue, answer, greeting
from voice_gateway.agents.order.hearing.recogniser import InlineRecogniser
from voice_gateway.agents.order.menu import default_menu
from voice_gateway.agents.order.understanding.grammar import Lexicon
from voice_gateway.agents.order.understanding.parse import parse
from voicelink.audio.speech import CachedSpeech, HibariSpeech

MENU = default_menu()
LEXICON = Lexicon(MENU)
_STATE = "state"
_MOST_CALLS = 32
_IDLE_PROCESSES = 4
"""As many as the league makes calls at once: none of them waits for its process."""


class OrderModel(llm.LLM):
    """Stands where a language model does: answers the last message of the user, and tells the state."""

    def __init__(self, on_state: Callable[[dict[str, Any]], Awaitable[Any]]) -> None:
        super().__init__()
        self.dialogue = Dialogue(MENU)
        self.on_state = on_state

    def chat(
        self, *, chat_ctx: llm.ChatContext, tools: Any = None, conn_options: Any = None, **_more: Any
    ) -> llm.LLMStream:
        return _Answer(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options or APIConnectOptions())


class _Answer(llm.LLMStream):
    async def _run(self) -> None:
        model = self._llm
        assert isinstance(model, OrderModel)
        said = next(each for each in reversed(self._chat_ctx.messages()) if each.role == "user")
        model.dialogue, text = answer(model.dialogue, parse(tuple((said.text_content or "").split()), LEXICON))
        await model.on_state(model.dialogue.to_state())
        delta = llm.ChoiceDelta(role="assistant", content=text)
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))


class Clerk(Agent):
    """Greets; all else is the model's."""

    async def on_enter(self) -> None:
        self.session.say(greeting(Dialogue(MENU)))


def prewarm(process: JobProcess) -> None:
    """Load what a call needs into a process that has none yet."""
    recogniser = InlineRecogniser(MENU)
    asyncio.run(recogniser.open())
    process.userdata.update(recogniser=WidebandRecogniser(recogniser), speech=CachedSpeech(HibariSpeech()), vad=VAD())


async def take_orders(job: JobContext) -> None:
    """Serve one room."""

    async def tell(state: dict[str, Any]) -> None:
        await job.room.local_participant.send_text(json.dumps(state), topic=_STATE)

    parts = job.proc.userdata
    session: AgentSession[None] = AgentSession(
        stt=SentenceSTT(parts["recogniser"]),
        vad=parts["vad"],
        llm=OrderModel(tell),
        tts=SentenceTTS(parts["speech"]),
        # an answer made ahead of the turn's end would change the order
        turn_handling={"turn_detection": "vad", "preemptive_generation": {"enabled": False}},
    )
    hears = RoomOptions(audio_input=AudioInputOptions(sample_rate=HEARS_AT_HZ))
    await session.start(Clerk(instructions="Take orders."), room=job.room, room_options=hears, record=False)
    await job.connect()


async def serve(port: int) -> None:
    """Serve rooms until SIGTERM."""
    server = AgentServer(
        host="127.0.0.1",
        port=0,
        setup_fnc=prewarm,
        preload_modules=["bench.league.livekit_bot"],
        # callers and peers share the machine: by default rooms are refused above 70 % of its load, processes after 10 s
        load_fnc=_load,
        initialize_process_timeout=60.0,
        num_idle_processes=_IDLE_PROCESSES,
    )
    server.rtc_session(take_orders)
    listening: list[asyncio.Task[asyncio.Server]] = []

    @server.on("worker_registered")
    def on_registered(_worker_id: str, _server: Any) -> None:
        if not listening:
            listening.append(asyncio.create_task(asyncio.start_server(_hang_up, "127.0.0.1", port)))

    serving = asyncio.create_task(server.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        await server.aclose()


def _load(server: AgentServer) -> float:
    """Load by calls: a server that reports 1 gets no rooms."""
    return min(len(server.active_jobs) / _MOST_CALLS, 1.0)


async def _hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """That there is a connection says enough."""
    writer.close()


if __name__ == "__main__":
    # job processes import what they run by its name
    from bench.league import livekit_bot

    asyncio.run(livekit_bot.serve(int(sys.argv[1])))

# order_bot.py
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameProcessor

from voice_gateway.agent.cascade.bandwidth import WidebandRecogniser
from voice_gateway.agents.order.dialogue import Dialogue, answer, greeting, restored
from voice_gateway.agents.order.hearing.recogniser_process import ProcessRecogniser
from voice_gateway.agents.order.menu import default_menu
from voice_gateway.agents.order.understanding.grammar import Lexicon
from voice_gateway.agents.order.understanding.parse import parse
from voice_gateway.agents.pipecat import PipecatAgent
from voice_gateway.agents.pipecat.offline import RecogniserSTTService, SpeechTTSService
from voicelink.audio.speech import CachedSpeech, HibariSpeech

MENU = default_menu()
LEXICON = Lexicon(MENU)


class OrderModel(FrameProcessor):
    """Stands where a language model does: answers the last message of the context."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        words = tuple(frame.context.get_messages()[-1]["content"].split())
        dialogue = restored(MENU, self.state) if self.state else Dialogue(MENU)
        dialogue, text = answer(dialogue, parse(words, LEXICON))
        self.state.update(dialogue.to_state())
        await self.push_frame(LLMFullResponseStartFrame())
        await self.push_frame(LLMTextFrame(text))
        await self.push_frame(LLMFullResponseEndFrame())


class OrderBot(PipecatAgent):
    async def open(self):
        await super().open()
        self.speech = CachedSpeech(HibariSpeech())
        self.recogniser = WidebandRecogniser(ProcessRecogniser(MENU))
        await self.recogniser.open()

    async def pipeline(self, transport, call):
        vad = SileroVADAnalyzer()
        pair = LLMContextAggregatorPair(LLMContext(), user_params=LLMUserAggregatorParams(vad_analyzer=vad))

        @transport.event_handler("on_client_connected")
        async def on_client_connected(transport, client):
            await transport.input().queue_frame(TTSSpeakFrame(greeting(Dialogue(MENU))))

        return Pipeline(
            [
                transport.input(),
                RecogniserSTTService(self.recogniser),
                pair.user(),
                OrderModel(call.state),
                SpeechTTSService(self.speech),
                transport.output(),
                pair.assistant(),
            ]
        )

    async def close(self):
        await super().close()
        await self.recogniser.close()

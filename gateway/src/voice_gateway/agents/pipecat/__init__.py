"""Pipecat pipelines as agents: subclass `PipecatAgent` with the coroutine that makes a call's pipeline.

    from voice_gateway.agents.pipecat import PipecatAgent

    class Waiter(PipecatAgent):
        async def pipeline(self, transport, call):
            return Pipeline([transport.input(), ..., transport.output(), ...])

`gateway/docs/pipecat.md` has a whole program, and says what survives a worker's end.
"""

from voice_gateway.agents.pipecat.agent import PipecatAgent
from voice_gateway.agents.pipecat.call.call import PipecatCall
from voice_gateway.agents.pipecat.transport.transport import VoiceTransport

__all__ = ["PipecatAgent", "PipecatCall", "VoiceTransport"]

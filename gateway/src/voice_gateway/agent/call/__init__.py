"""An agent as one coroutine a call: it waits for the caller's turns, runs tools and says what follows.

    from voice_gateway.agent.call import Call, CallAgent

    class Waiter(CallAgent):
        async def converse(self, call: Call) -> None:
            await call.say("Hi, what can I get you?")
            async for turn in call.turns():
                call.state["items"] = await call.tool(update_items, text=turn.text)
                await call.say(f"You have {call.state['items']}.")

`gateway/docs/agents.md` says what survives a worker's end. Choose the class as `agent.name = "package.module:Waiter"`.
"""

from voice_gateway.agent.call.agent import CallAgent, as_agent
from voice_gateway.agent.call.call import Call
from voice_gateway.agent.call.client import ClientToolError, ClientToolInterrupted, ClientToolTimeout
from voice_gateway.agent.call.hearing.feeds import CallEvent
from voice_gateway.agent.call.hearing.turn_taking import BACKCHANNELS, Interruptions, WhileSpeaking
from voice_gateway.agent.call.options import CallOptions
from voice_gateway.agent.call.progress.journal import Turn
from voice_gateway.agent.call.progress.tools import tool_schema
from voice_gateway.agent.call.speaking.replies import Speakable, Spoken

__all__ = [
    "BACKCHANNELS",
    "Call",
    "CallAgent",
    "CallEvent",
    "CallOptions",
    "ClientToolError",
    "ClientToolInterrupted",
    "ClientToolTimeout",
    "Interruptions",
    "Speakable",
    "Spoken",
    "Turn",
    "WhileSpeaking",
    "as_agent",
    "tool_schema",
]

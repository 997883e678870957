"""The agent of ten lines that eval/README.md evaluates."""

from voice_gateway.agent.call import Call, CallAgent, CallOptions
from voice_gateway.agents.order.hearing.recogniser_process import ProcessRecogniser
from voice_gateway.agents.order.menu import default_menu


class Waiter(CallAgent):
    options = CallOptions(recogniser=lambda: ProcessRecogniser(default_menu()))

    async def converse(self, call: Call) -> None:
        await call.say("Hi, what can I get you?")
        async for turn in call.turns():
            call.state.setdefault("items", []).append(turn.text)
            await call.client_tool("kitchen", order=turn.text)
            await call.say(f"I have {' and '.join(call.state['items'])}. Anything else?")

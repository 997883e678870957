"""An agent for real workers: it asks the client's tool `where` for each turn, and says nothing aloud."""

from __future__ import annotations

from collections.abc import Iterator

from voice_gateway.agent.call import Call, CallAgent, CallOptions


class Hum:
    """Speech of 50 ms, made at once."""

    def synthesize(self, text: str) -> Iterator[bytes]:
        yield bytes(2_400)


class Guide(CallAgent):
    options = CallOptions(speech=Hum, listens=False)

    async def converse(self, call: Call) -> None:
        async for turn in call.turns():
            place = await call.client_tool("where", accuracy_m=10)
            call.state.setdefault("places", []).append([turn.text, place["lat"]])
            call.send({"places": len(call.state["places"])})
            await call.say("Found.")

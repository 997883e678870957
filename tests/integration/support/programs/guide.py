"""Agents for real workers that say nothing aloud: one asks the client's tool `where` for each turn, one repeats it."""

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


class Parrot(CallAgent):
    options = CallOptions(speech=Hum, listens=False)

    async def converse(self, call: Call) -> None:
        async for turn in call.turns():
            call.send({"typed": turn.text})
            await call.say(f"You typed {turn.text}.")

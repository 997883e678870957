"""A ten-line agent keeps the contract of all agents."""

from __future__ import annotations

from collections.abc import Iterator

from voice_gateway.agent.call import Call, CallAgent, CallOptions
from voice_gateway.agent.cascade.parts import OnWords
from voice_gateway.testing.agents import AgentContract
from voicelink.audio.vad import EnergyVoiceActivity


class Loudness:
    def detector(self) -> EnergyVoiceActivity:
        return EnergyVoiceActivity(16_000)


class Lengths:
    """Recognises how long an utterance was."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def begin(self, on_words: OnWords) -> Lengths.Utterance:
        return Lengths.Utterance(on_words)

    class Utterance:
        def __init__(self, on_words: OnWords) -> None:
            self._on_words = on_words
            self._bytes = 0

        def feed(self, pcm: bytes) -> None:
            self._bytes += len(pcm)

        def end(self) -> None:
            self._on_words((str(self._bytes), "bytes"), True)

        def abandon(self) -> None: ...


class Silence:
    def synthesize(self, text: str) -> Iterator[bytes]:
        for _ in text.split():
            yield bytes(4_800)


async def count(text: str, key: str) -> int:
    return len(text)


class Waiter(CallAgent):
    options = CallOptions(recogniser=Lengths, voices=Loudness, speech=Silence)

    async def converse(self, call: Call) -> None:
        await call.say("Hi, what can I get you?")
        async for turn in call.turns():
            call.state["letters"] = await call.tool(count, text=turn.text)
            await call.say(f"You said {turn.text}. Anything else?")


class TestWaiter(AgentContract):
    def make_agent(self) -> CallAgent:
        return Waiter()


class Listener(CallAgent):
    options = CallOptions(listens=False, speech=Silence)

    async def converse(self, call: Call) -> None:
        async for _ in call.turns():
            pass


class TestListener(AgentContract):
    answers_speech = False

    def make_agent(self) -> CallAgent:
        return Listener()

"""The order agent with all its models, and what it understood of a call."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from testbed.calls.agents import Mute, NotingAgent, RememberingRecogniser
from voice_gateway.agent.base import AgentEvent, Conversation, Emit, FinalTranscript, StateChanged, UserAudio
from voice_gateway.agent.call import as_agent
from voice_gateway.agents.order.agent import OrderAgent
from voice_gateway.agents.order.hearing.recogniser import InlineRecogniser
from voice_gateway.testing.agents import Caller

_TIMEOUT_S: Final = 60.0


@dataclass(slots=True)
class Understanding:
    """The words and the order of a call; `digest` is the same for calls whose agent received the same samples."""

    words: list[str] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    digest: str = ""


class Listener(NotingAgent):
    """The order agent, mute; it takes one call after the other, and no recognition is made twice.

    Make it outside of simulations, and within `testbed.calls.agents.one_voice_detector`.
    """

    def __init__(self) -> None:
        recogniser = RememberingRecogniser()
        super().__init__(as_agent(OrderAgent(recogniser=recogniser, speech=Mute(), is_inline=True)))
        self._understood: list[FinalTranscript | StateChanged] = []
        asyncio.run(InlineRecogniser.open(recogniser))
        asyncio.run(self.open())

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        def note(event: AgentEvent) -> None:
            if isinstance(event, FinalTranscript | StateChanged):
                self._understood.append(event)
            emit(event)

        return super().converse(note, state)

    def understanding(self) -> Understanding:
        """What came of the call since this was asked last.

        There are two conversations where the end of a call was lost, and the caller came back to hear of it.
        """
        understanding = Understanding()
        for each in self._understood:
            if isinstance(each, FinalTranscript):
                understanding.words += each.text.split()
            if each.state is not None:
                understanding.items = list(each.state["items"])
        received = b"".join(audio.pcm for conversation in self.received for audio in conversation)
        understanding.digest = hashlib.sha256(received).hexdigest()
        self._understood.clear()
        self.received.clear()
        return understanding

    def hear(self, pieces: Iterator[UserAudio]) -> Understanding:
        """Listen to a call that has no session."""
        asyncio.run(self._hear(pieces))
        return self.understanding()

    async def _hear(self, pieces: Iterator[UserAudio]) -> None:
        caller = Caller(self, _TIMEOUT_S)
        for piece in pieces:
            caller.sequence = piece.sequence
            caller.conversation.hear(piece)
            await asyncio.sleep(0)
        await caller.finish()
        caller.conversation.close()

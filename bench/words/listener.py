"""The order agent with all its models, and what it understood of a call."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.calls.agents import Mute, NotingAgent, RememberingRecogniser
from voice_gateway.agent.base import AgentEvent, Conversation, Emit, FinalTranscript, UserAudio
from voice_gateway.agents.order.agent import OrderAgent
from voice_gateway.agents.order.hearing.recogniser import InlineRecogniser


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
        super().__init__(OrderAgent(recogniser=recogniser, speech=Mute(), is_inline=True))
        self._understood: list[FinalTranscript] = []
        asyncio.run(InlineRecogniser.open(recogniser))
        asyncio.run(self.open())

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        def note(event: AgentEvent) -> None:
            if isinstance(event, FinalTranscript):
                self._understood.append(event)
            emit(event)

        return super().converse(note, state)

    def understanding(self) -> Understanding:
        """What came of the call since this was asked last.

        There are two conversations where the end of a call was lost, and the caller came back to hear of it.
        """
        understanding = Understanding()
        for each in self._understood:
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
        conversation = self.converse(lambda event: None, None)
        for piece in pieces:
            conversation.hear(piece)
        conversation.finish()
        conversation.close()
        return self.understanding()

"""The base class of agents written for LiveKit Agents."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final

from livekit.agents import Agent as LiveKitsAgent
from livekit.agents import AgentSession, ChatContext

from voice_gateway.agent.apology import SORRY, offline_apology
from voice_gateway.agent.base import Agent, Conversation, Emit
from voice_gateway.agents.livekit.conversation import Hooks, LiveKitConversation

_PRIVATE: Final = "lk.pii."


class LiveKitAgent(Agent):
    """Opens a LiveKit `AgentSession` for each session, with audio of the session's in place of a room.

    Heavy: `import livekit.agents` takes seconds, and models run in the process. An agent host is its best place.
    """

    requires = ("livekit.agents",)
    install = "voice-gateway[livekit]"
    asks_again: str = "Sorry, we were cut off. What did you say last?"
    """What a caller hears who is back after words were lost; empty is silence."""
    apology: str = SORRY
    """What a caller hears, by the offline voice, where the session fails; empty is silence."""
    playout_grace_s: float = 3.0
    """Where a client reports no playback, speech counts as played so long after it must have been."""

    @abstractmethod
    def session(self) -> AgentSession[Any]:
        """Return a new session: its speech to text, voice activity, language model and text to speech.

        Where its `userdata` is a dict of plain values, that is the state: clients see it, and it is saved with each
        turn and restored.
        """

    @abstractmethod
    def agent(self, chat_ctx: ChatContext) -> LiveKitsAgent:
        """Return the agent that begins, or goes on with, the call whose history is `chat_ctx`.

        `on_enter` runs in new calls only.
        """

    def on_digit(self, session: AgentSession[Any], digit: str) -> None:
        """The caller pressed a key of the telephone. Default: it is a turn of the user."""
        session.interrupt()
        session.generate_reply(user_input=digit)

    async def open(self) -> None:
        """Rehearse a session, whose first start in a process blocks the event loop, and make the apology."""
        self.keep_logs_private()
        await _rehearse()
        await offline_apology(self.apology, self.output_rate_hz)

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        """Begin or restore a conversation; it starts with the session's first call."""
        self.keep_logs_private()
        hooks = Hooks(self.session, self.agent, self.on_digit, self.asks_again, self.playout_grace_s, self.apology)
        conversation = LiveKitConversation(hooks, emit, state, self.input_rate_hz, self.output_rate_hz)
        running = self._conversations()
        running[conversation.task] = conversation
        conversation.task.add_done_callback(lambda task: running.pop(task, None))
        return conversation

    async def close(self) -> None:
        running = dict(self._conversations())
        for conversation in running.values():
            conversation.close()
        await asyncio.gather(*running, return_exceptions=True)

    def keep_logs_private(self) -> None:
        """Free LiveKit's logs of transcripts and arguments, which it adds under `lk.pii.` names."""
        logger = logging.getLogger("livekit.agents")
        if _without_transcripts not in logger.filters:
            logger.addFilter(_without_transcripts)

    def _conversations(self) -> dict[asyncio.Task[None], LiveKitConversation]:
        """Made when first used: subclasses need not call `__init__`."""
        found: dict[asyncio.Task[None], LiveKitConversation] = self.__dict__.setdefault("_running", {})
        return found


async def _rehearse() -> None:
    """Start and end a session without parts, before there is a call: this loads what all sessions need."""
    session: AgentSession[None] = AgentSession()
    await session.start(LiveKitsAgent(instructions=""), record=False)
    await session.aclose()


def _without_transcripts(record: logging.LogRecord) -> bool:
    for name in [name for name in record.__dict__ if name.startswith(_PRIVATE)]:
        del record.__dict__[name]
    return True

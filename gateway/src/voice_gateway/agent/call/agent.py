"""The base class of agents whose calls are coroutines, and what makes a worker's agent of one."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import structlog
from pydantic import BaseModel

from voice_gateway.agent.base import Agent, Conversation, Emit
from voice_gateway.agent.call.call import Call
from voice_gateway.agent.call.conversation import CallConversation
from voice_gateway.agent.call.options import CallOptions
from voice_gateway.agent.cascade.cascade import Cascade
from voice_gateway.agent.cascade.parts import OnWords, Utterance
from voice_gateway.errors import AgentError
from voicelink.audio.vad import EnergyVoiceActivity

_CLOSE_TIMEOUT_S: Final = 5.0
"""How long coroutines that were cancelled may take to end."""
_log = structlog.get_logger("voice_gateway.agent.call")


class CallAgent(ABC):
    """Made once per worker: as `cls(settings)` where the class names a `settings_model`, else as `cls()`.

    Choose other parts than the defaults with `super().__init__(CallOptions(...))`, or as the class attribute `options`.
    """

    options: CallOptions = CallOptions()
    name: str = ""
    """By which callers ask for the agent; empty for the name by which it was loaded."""
    settings_model: ClassVar[type[BaseModel] | None] = None
    """The pydantic model of `[agent.settings]`, as of `Agent`."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Modules without which the worker does not start."""
    install: ClassVar[str] = ""
    """What brings the modules of `requires`, as `pip install` takes it."""

    def __init__(self, options: CallOptions | None = None) -> None:
        if options is not None:
            self.options = options

    @abstractmethod
    async def converse(self, call: Call) -> None:
        """Hold one call. It runs again from its beginning where another worker goes on with the call.

        What it returns from is over: the call ends. What it raises ends the call with an apology.
        After `StateTooLarge` in a turn the call goes on behind that turn, with the state that was saved last.
        """

    async def open(self) -> None:  # noqa: B027 - a default that works
        """Load what the agent needs besides speech; raises `GatewayError`, one sentence, where that is impossible."""

    async def close(self) -> None:  # noqa: B027 - as above
        """Release it; called once, when no call is left, also where `open` failed."""


def as_agent(agent: CallAgent) -> Agent:
    """Return the agent that a worker, or the contract suite, takes; loading by name does this by itself."""
    return _CallAgentAdapter(agent)


class _CallAgentAdapter(Agent):
    def __init__(self, agent: CallAgent) -> None:
        self._agent = agent
        options = agent.options
        self.name = agent.name
        self.input_rate_hz = options.input_rate_hz
        self.output_rate_hz = options.output_rate_hz
        self._cascade = Cascade(
            options.recogniser() if options.listens else _NoRecogniser(),
            options.voices if options.listens else _NoVoices,
            options.speech,
            input_rate_hz=options.input_rate_hz,
            timing=options.timing,
            end_of_turn=None if options.end_of_turn is None or not options.listens else options.end_of_turn(),
            synthesiser=None if options.synthesiser is None else options.synthesiser(),
            is_inline=options.is_inline,
        )
        self._conversations: dict[asyncio.Task[None], CallConversation] = {}

    async def open(self) -> None:
        options = self._agent.options
        await self._cascade.open((options.apology, *options.phrases))
        await self._agent.open()

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        conversation = CallConversation(self._agent.converse, self._cascade, self._agent.options, emit, state)
        self._conversations[conversation.task] = conversation
        conversation.task.add_done_callback(self._ended)
        return conversation

    async def close(self) -> None:
        running = dict(self._conversations)
        for conversation in running.values():
            conversation.close()
        if running:
            _, left = await asyncio.wait(running, timeout=_CLOSE_TIMEOUT_S)
            if left:
                _log.warning("call_agent_does_not_end", agent=self.name, calls=len(left))
        await self._cascade.close()
        await self._agent.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._conversations[task]


class _NoRecogniser:
    """For agents that recognise speech themselves."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def begin(self, on_words: OnWords) -> Utterance:
        raise AgentError("this agent listens by itself")


class _NoVoices:
    def detector(self) -> EnergyVoiceActivity:
        return EnergyVoiceActivity(16_000)

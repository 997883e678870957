"""What a call's transport reports to the call, and what both share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from pipecat.processors.aggregators.llm_context import LLMContext

from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.pipecat.transport.frames import TimedFrame
from voice_gateway.agents.pipecat.transport.output.playback_timeline import PlaybackTimeline


class TurnEvents(Protocol):
    """The caller's turns, and the answers that the pipeline makes to them."""

    def started_speaking(self) -> None: ...
    def stopped_speaking(self, sequence: int) -> None: ...
    def understood(self, text: str, through_sequence: int) -> None: ...
    def silent(self, through_sequence: int) -> None: ...
    def announced(self, text: str) -> None: ...
    def answer_made(self) -> None: ...
    def answer_in_context(self) -> None: ...
    def answer_cut(self) -> None: ...


class ReplyEvents(Protocol):
    """The audio that the pipeline makes, and the interruptions of it."""

    @property
    def is_attached(self) -> Callable[[], bool]: ...
    def begin(self, text: str) -> None: ...
    def audio(self, pcm: bytes) -> None: ...
    def end(self) -> None: ...
    def interrupting(self, *, is_user: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class TransportParts:
    """The call's side of a transport. `on_ready` is called when the pipeline has started, with its context."""

    turns: TurnEvents
    replies: ReplyEvents
    timeline: PlaybackTimeline[TimedFrame]
    changes: Changes
    on_ready: Callable[[LLMContext | None], Coroutine[Any, Any, None]]
    on_message: Callable[[Any], None]
    """Called with each message to the client."""

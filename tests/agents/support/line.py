"""A call without a gateway, whose record another agent can go on with, as after a worker's end."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.agents.support.vendor_voice import at_rate
from tests.unit.recordings import recording
from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    Conversation,
    FinalTranscript,
    NoSpeechUpTo,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    ReplyText,
    SessionView,
    StateChanged,
    StopReply,
    UserAudio,
    UserStartedSpeaking,
)
from voice_gateway.store.base import Line as StoredLine

T = TypeVar("T")


@dataclass
class Record:
    """What a store and a caller keep."""

    lines: list[StoredLine] = field(default_factory=list)
    private: Any = field(default_factory=dict)
    through: int = -1
    unacked: list[bytes] = field(default_factory=list)
    given: int = 0

    @property
    def turn(self) -> int:
        return sum(line.role == "user" for line in self.lines)

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(line.role, line.text) for line in self.lines]


class Line:
    """A call of one agent without a gateway: takes the place of a session and a caller, and saves at once.

    Where it `is_playing`, each reply is played at the moment when it ends.
    """

    def __init__(self, agent: Agent, record: Record | None = None, *, is_playing: bool = True) -> None:
        self.agent = agent
        self.record = record or Record()
        self.is_playing = is_playing
        self.events: list[AgentEvent] = []
        self.open_replies: list[str] = []
        self._conversation: Conversation | None = None
        self._deaths: list[tuple[Callable[[Record], bool], asyncio.Future[Record]]] = []

    @property
    def conversation(self) -> Conversation:
        assert self._conversation is not None
        return self._conversation

    async def __aenter__(self) -> Line:
        await self.agent.open()
        self._conversation = self.agent.converse(self.take, None)
        record = self.record
        turn = max((line.turn for line in record.lines), default=0)
        view = SessionView("call-1", turn, record.private, lambda: tuple(record.lines), lambda: True)
        self.conversation.opened(view)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.agent.close()

    def take(self, event: AgentEvent) -> None:
        self.events.append(event)
        record = self.record
        match event:
            case FinalTranscript(text, through_sequence, _, private):
                record.through = max(record.through, through_sequence)
                record.lines.append(StoredLine(record.turn + 1, "user", text))
                record.private = record.private if private is None else private
            case NoSpeechUpTo(through_sequence):
                record.through = max(record.through, through_sequence)
            case StateChanged(_, private, checkpoint):
                record.private = record.private if private is None else private
                if checkpoint is not None:
                    asyncio.get_running_loop().call_soon(self.conversation.saved, checkpoint)
            case Reply(text):
                record.lines.append(StoredLine(record.turn, "agent", text))
                self.open_replies.append(text)
            case ReplyText(text):
                record.lines[-1] = StoredLine(record.turn, "agent", text)
                self.open_replies[-1] = text
            case ReplyEnded() if self.is_playing:
                self.conversation.playback_finished(PlaybackFinished(self.open_replies.pop(0), 0))
            case UserStartedSpeaking() | StopReply() if self.open_replies:
                self.cut(0)
        for is_so, left in self._deaths:
            if not left.done() and is_so(record):
                left.set_result(copy.deepcopy(record))

    async def record_when(self, is_so: Callable[[Record], bool], timeout_s: float = 30.0) -> Record:
        """Return a copy of the record as of the first event after which the condition holds.

        It is what is left where the worker dies there, though the agent has gone on before the caller looks.
        """
        left: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._deaths.append((is_so, left))
        return await asyncio.wait_for(left, timeout_s)

    def cut(self, played_ms: int, said: str = "") -> None:
        """The caller was played so much of the reply, and interrupts."""
        self.open_replies.clear()
        self.record.lines[-1] = StoredLine(self.record.turn, "agent", said)
        self.conversation.interrupted(played_ms)
        self.conversation.playback_finished(PlaybackFinished(said, played_ms, is_interrupted=True))

    async def speak(self, name: str, *, from_sequence: int = 0, frames: int = 1_000_000) -> None:
        """Give frames of a recording with a pause before and behind it; the caller keeps them until they are acked."""
        if not from_sequence:
            self.record.unacked += framed(name, self.agent.input_rate_hz)
        for sequence, pcm in list(enumerate(self.record.unacked))[max(from_sequence, self.record.given) :][:frames]:
            self.record.given = sequence + 1
            self.conversation.hear(UserAudio(sequence, pcm))
            await asyncio.sleep(0)

    def resume(self) -> None:
        """Give again what was not acked, as a client does to another worker."""
        for sequence, pcm in list(enumerate(self.record.unacked[: self.record.given]))[self.record.through + 1 :]:
            self.conversation.hear(UserAudio(sequence, pcm))

    async def until(self, is_so: Callable[[], bool], timeout_s: float = 30.0) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not is_so():  # noqa: ASYNC110 - an agent has no event to wait for
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(
                f"did not come; there were {[e for e in self.events if not isinstance(e, ReplyAudio)]}"
            ) from None

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    def has_ended(self, count: int = 1) -> bool:
        return len(self.of(ReplyEnded)) >= count


def framed(name: str, rate_hz: int) -> list[bytes]:
    """Return a recording in frames of 20 ms, a second of silence before it and two behind it."""
    pcm = bytes(2 * rate_hz) + at_rate(recording(name), rate_hz) + bytes(4 * rate_hz)
    size = rate_hz // 25
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]

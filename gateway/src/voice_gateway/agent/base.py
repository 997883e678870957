"""What a session needs of whatever listens and answers.

An `Agent` is made once per worker; it opens a `Conversation` per session. A conversation takes PCM in with calls
that never block and tells the session what it made of it with `AgentEvent`s, emitted on the worker's event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class UserAudio:
    """One uplink frame as PCM16 mono at the agent's `input_rate_hz`; `sequence` is the frame's on the wire.

    For an agent that `SpeaksPcmu` it is mu-law, a byte a sample.
    """

    sequence: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class UserStartedSpeaking:
    """The caller began to speak; whatever the agent is saying is interrupted (barge-in).

    `sequence` is the first frame of the utterance, `onset` the first with voice, where the agent knows it.
    """

    sequence: int
    onset: int | None = None


@dataclass(frozen=True, slots=True)
class UserStoppedSpeaking:
    """The caller's turn is taken as over, and its words will follow; `sequence` is its last frame with voice.

    For the account of latencies; an agent that does not tell may leave it out.
    """

    sequence: int


@dataclass(frozen=True, slots=True)
class PartialTranscript:
    """The utterance so far; the next one replaces it."""

    text: str


@dataclass(frozen=True, slots=True)
class FinalTranscript:
    """An utterance ended: its words, the state that follows from it, and the last frame it used.

    The three belong together: once the session has saved them, frames up to `through_sequence` are heard.
    `state` is the whole state as plain maps, lists, strings and numbers, or `None` where nothing changed.
    """

    text: str
    through_sequence: int
    state: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NoSpeechUpTo:
    """No speech is pending in the frames up to `through_sequence`: forgetting them loses no word."""

    through_sequence: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The agent begins to answer with `text`; its audio follows as `ReplyAudio`, then `ReplyEnded`."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """Speech of the current reply: PCM16 mono at the agent's `output_rate_hz`, any length, as soon as it is made.

    From an agent that `SpeaksPcmu` it is mu-law, a byte a sample.
    """

    pcm: bytes


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """All audio of the current reply has been emitted."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer to `Conversation.finish`: every frame heard has had its effect, nothing more will be said."""


@dataclass(frozen=True, slots=True)
class AgentFailed:
    """The agent cannot go on; the session ends with `CloseCode.AGENT_FAILED` and this reason."""

    reason: str


AgentEvent = (
    UserStartedSpeaking
    | UserStoppedSpeaking
    | PartialTranscript
    | FinalTranscript
    | NoSpeechUpTo
    | Reply
    | ReplyAudio
    | ReplyEnded
    | Finished
    | AgentFailed
)


class Conversation(Protocol):
    """One session's side of the agent."""

    def greet(self) -> None:
        """Open the conversation, if the agent speaks first; called once, before any audio.

        Also for one that was taken up, where the caller waits for an answer that it will not get.
        """

    def hear(self, audio: UserAudio) -> None:
        """Take the next frame, in order; returns at once."""

    def interrupted(self, played_ms: int) -> None:
        """The current reply was cut off after `played_ms` at the caller's ear: stop making it."""

    def say_again(self, text: str) -> None:
        """Stop the current reply, and say `text`, what was replied before: emit it as a `Reply` of exactly these words.

        The caller was cut off while it was said. An agent that cannot say it again says nothing.
        """

    def finish(self) -> None:
        """No more audio follows: take a pending utterance as ended, answer it, and emit `Finished`.

        Called again, and answered with `Finished` again, where the caller lost its connection meanwhile and came back.
        """

    def close(self) -> None:
        """Let go of everything; no event is emitted any more."""


@runtime_checkable
class TakesUp(Protocol):
    """What a conversation may be besides: one that says where it stands to a caller who was cut off."""

    def take_up(self) -> None:
        """The caller is back; called once, before any audio, in place of `greet`.

        What was being said when the line broke is lost, on both sides, and was not understood: ask for it.
        """


@runtime_checkable
class TakesDigits(Protocol):
    """What a conversation may be besides: one that cares for the keys of a telephone."""

    def pressed(self, digit: str) -> None:
        """The caller pressed a key, one of `0123456789ABCD*#`; returns at once."""


class Agent(Protocol):
    """A worker's agent: loads its models once, and opens conversations."""

    name: str
    input_rate_hz: int
    output_rate_hz: int

    async def open(self) -> None:
        """Load models, make connections; raises `GatewayError` with one sentence where that is impossible."""

    def converse(self, emit: Callable[[AgentEvent], None], state: Mapping[str, Any] | None) -> Conversation:
        """Begin (`state` None) or take up a conversation whose state was saved."""

    async def close(self) -> None:
        """Close all conversations and release the models."""


@runtime_checkable
class SpeaksPcmu(Protocol):
    """What an agent may be besides: one that hears and says mu-law (G.711) where others have PCM16, both at 8 kHz.

    What a telephone says and hears passes through untouched; the gateway converts for callers with another codec.
    """

    speaks_pcmu: Literal[True]


# Former names, for agents written before; deprecated.
HeardAudio = UserAudio
SpeechStarted = UserStartedSpeaking
SpeechStopped = UserStoppedSpeaking
Understood = FinalTranscript
Silence = NoSpeechUpTo

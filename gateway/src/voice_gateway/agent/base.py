"""The base classes of agents, and the events by which an agent tells a session what it understood and says.

An `Agent` is made once per worker and opens a `Conversation` per session. A conversation takes the user's audio with
calls that never block, and emits `AgentEvent`s on the worker's event loop. Everything but `Agent.converse` has a
default that works: override what the agent needs. `voice_gateway.testing` checks an agent against this page.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Final

import msgspec
from pydantic import BaseModel

from voice_gateway.store.base import Line

MAX_PRIVATE_STATE_BYTES: Final = 1 << 20
"""The most that an agent's private state may have, encoded as MessagePack: each save of the session writes it."""


class AudioFormat(Enum):
    """How audio is written: 16-bit little-endian PCM, G.711 mu-law of one byte a sample, or Opus packets as they are.

    `OPUS` is for agents that forward or echo packets: each lies in a slot of 20 ms
    (`voicelink.audio.codecs.opus_slots`), the rates do not count, and callers of another codec cannot be served.
    """

    PCM16 = "pcm16"
    PCMU = "pcmu"
    OPUS = "opus"


class UserAudio(msgspec.Struct, frozen=True, gc=False):
    """One uplink frame, mono, in the agent's `audio_format` at its `input_rate_hz`; usually 20 ms, after DTX longer.

    `sequence` is the frame's on the wire.
    """

    sequence: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class UserStartedSpeaking:
    """The user began to speak: the session interrupts the reply (barge-in).

    `sequence` is the first frame of the utterance, `onset` the first with voice, where the agent knows it.
    """

    sequence: int
    onset: int | None = None


@dataclass(frozen=True, slots=True)
class UserStoppedSpeaking:
    """The user's turn is over and its words will follow; `sequence` is its last frame with voice.

    For latency measurement; an agent may leave it out.
    """

    sequence: int


@dataclass(frozen=True, slots=True)
class PartialTranscript:
    """The utterance so far; the next one replaces it."""

    text: str


@dataclass(frozen=True, slots=True)
class FinalTranscript:
    """An utterance ended: its words, the state that follows from it, and the last frame it used.

    The session saves the three together, and then acknowledges frames up to `through_sequence`. `state` is the whole
    state as plain maps, lists, strings and numbers, or `None` where nothing changed. `private_state` is as `state`,
    but is not shown to the user. While its `pending` is not empty a turn is being answered, silently perhaps: a worker
    that drains does not move the call then, if it can wait. `through_message` is the last message of the client that
    had its effect, as of `StateChanged`: for a typed turn its `UserText.number`.
    """

    text: str
    through_sequence: int
    state: Mapping[str, Any] | None = None
    private_state: Mapping[str, Any] | None = None
    through_message: int | None = None


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The state changed apart from an utterance; `None` where a part did not.

    All is saved together. Then `Conversation.saved` is called with `checkpoint`, unless it is `None`, and the client's
    messages up to `through_message` are acknowledged: their effect cannot be lost any more, and they come no more.
    """

    state: Mapping[str, Any] | None = None
    private_state: Mapping[str, Any] | None = None
    checkpoint: int | None = None
    through_message: int | None = None


@dataclass(frozen=True, slots=True)
class NoSpeechUpTo:
    """No utterance needs a frame up to `through_sequence` any more: they may be acknowledged and forgotten."""

    through_sequence: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The agent begins to answer with `text`; its audio follows as `ReplyAudio`, then `ReplyEnded`."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyText:
    """The whole text of the current reply, as far as it is known by now; it replaces the one before.

    For an agent whose words come while it speaks. After `ReplyEnded` it is ignored.
    """

    text: str


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """Speech of the current reply, mono, in the agent's `audio_format` at its `output_rate_hz`; any length."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """All audio of the current reply has been emitted."""


@dataclass(frozen=True, slots=True)
class StopReply:
    """Cut off what is being said, as the user's voice does; if anything was, `Conversation.interrupted` follows."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the session, and forget it: the user gets `bye` with this reason."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class SendAppMessage:
    """Send `data`, a map of plain values of at most 16,384 bytes, to the client's application.

    It is saved together with `private_state` (`None` where that did not change), then sent, and sent again after a
    resume until the client has it: once in all, in order. A client that takes no messages, as a telephone, gets none.
    """

    data: Mapping[str, Any]
    private_state: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CallClientTool:
    """Call the tool `name` that the client registered; `Conversation.client_tool_returned` brings what it answers.

    Saved and sent as `SendAppMessage`. `call_id`, at most 64 characters, is the call's idempotency key: emitted again
    with the same one, at another worker too, the client answers again and does not run the tool again. The client gets
    `timeout_s`, at most 3,600; the agent gives up by itself, with `CancelClientTool`.
    """

    call_id: str
    name: str
    arguments: Mapping[str, Any]
    timeout_s: float
    private_state: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CancelClientTool:
    """The result of this call is not wanted any more: the client stops the tool, if it runs, and answers nothing."""

    call_id: str
    private_state: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TransferCall:
    """Hand the user on to `target`, and end the session once the client knows; nothing is said any more.

    A client gets the target, which is its own to understand. A telephone call goes on as its vendor's script says.
    """

    target: str


@dataclass(frozen=True, slots=True)
class ToolBegan:
    """A tool of the agent's own begins to run, for those who watch the call; `call_id` is the call's idempotency key.

    An agent may leave it out. Neither arguments nor results are shown.
    """

    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """The tool of a `ToolBegan` returned, or raised."""

    call_id: str
    has_failed: bool = False


@dataclass(frozen=True, slots=True)
class RecordingConsent:
    """Whether the user consents to a recording of the call; saved, and so known to each worker that goes on with it.

    Where consent is asked for (`recording.consent`), sound and words are kept only once it is given. Where it is
    refused or withdrawn, what was kept of them is deleted.
    """

    is_given: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer to `Conversation.finish`: every frame has had its effect, and no reply follows."""


@dataclass(frozen=True, slots=True)
class AgentFailed:
    """The agent cannot go on; the session ends with `CloseCode.AGENT_FAILED` and this reason."""

    reason: str


AgentEvent = (
    UserStartedSpeaking
    | UserStoppedSpeaking
    | PartialTranscript
    | FinalTranscript
    | StateChanged
    | NoSpeechUpTo
    | Reply
    | ReplyText
    | ReplyAudio
    | ReplyEnded
    | StopReply
    | HangUp
    | SendAppMessage
    | CallClientTool
    | CancelClientTool
    | TransferCall
    | ToolBegan
    | ToolReturned
    | RecordingConsent
    | Finished
    | AgentFailed
)

Emit = Callable[[AgentEvent], None]
"""Takes an agent's event; to be called on the worker's event loop."""


@dataclass(frozen=True, slots=True)
class UserText:
    """What the user typed; `number` is that of the client's message, to be named as `through_message`.

    It is `None` where an operator put the text in (the admin interface): there is nothing to acknowledge.
    """

    number: int | None
    text: str


@dataclass(frozen=True, slots=True)
class AppMessage:
    """A message of the client's application; `number` as of `UserText`."""

    number: int
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClientToolResult:
    """What a call of a client's tool returned: plain, or why there is nothing (`error`, one sentence).

    `number` is as of `UserText`, and `None` where it is the session that answers: the client takes no messages.
    """

    call_id: str
    result: Any = None
    error: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class PlaybackFinished:
    """A reply was played: `text` is what of it was played, in `played_ms`; all of it, unless it `is_interrupted`."""

    text: str
    played_ms: int
    is_interrupted: bool = False


@dataclass(frozen=True, slots=True)
class SessionView:
    """What a conversation may know of its session.

    `turn` counts the final transcripts before this conversation, of which `private_state` is what was saved last.
    `transcript` returns what was said so far: of an interrupted reply what was played. `is_attached` tells whether the
    user is connected; what is emitted meanwhile is said when the user is back. `epoch` is greater at each worker that
    goes on with the session.
    """

    session_id: str
    turn: int
    private_state: Mapping[str, Any]
    transcript: Callable[[], Sequence[Line]]
    is_attached: Callable[[], bool]
    epoch: int = 1


class Conversation:
    """One session's side of an agent. No method may block; each may emit events before it returns."""

    def __init__(self, emit: Emit) -> None:
        self._emit: Emit | None = emit

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._emit is None

    def emit(self, event: AgentEvent) -> None:
        """Give an event to the session; after `close`, drop it."""
        if self._emit is not None:
            self._emit(event)

    def opened(self, session: SessionView) -> None:
        """Called once, before all others: the session that this conversation belongs to. Default: nothing."""

    def saved(self, checkpoint: int) -> None:
        """The `StateChanged` of this checkpoint, and all before it, cannot be lost any more. Default: nothing."""

    def played(self, played_ms: int) -> None:
        """Of the oldest reply that is not finished, so much was played, at the user's latest report. Default: nothing.

        About five times a second. It counts from the reply's beginning, with what `say_again` skips, and never exceeds
        what was played.
        """

    def playback_finished(self, playback: PlaybackFinished) -> None:
        """A reply was played to its end or cut off; in order, once for each `Reply`. Default: nothing.

        Of replies that were on their way when a connection was lost, it is called for those that the user had played;
        `say_again` follows for all others together.
        """

    def greet(self) -> None:
        """Open the conversation, if the agent speaks first; called once, before any audio.

        Also for a restored conversation whose user waits for an answer that was lost.
        """

    def greet_again(self) -> None:
        """Called in place of `greet` where the user was cut off and is back.

        What was being said when the connection broke is lost, on both sides, and was not understood: ask for it.
        Default: `greet`.
        """
        self.greet()

    def hear(self, audio: UserAudio) -> None:
        """Take the next frame, in order. Default: report it as silence."""
        self.emit(NoSpeechUpTo(audio.sequence))

    def pressed(self, digit: str) -> None:
        """The user pressed a key of the telephone, one of `0123456789ABCD*#`. Default: nothing."""

    def text_received(self, text: UserText) -> None:
        """The user typed this. Default: acknowledge it, and do nothing.

        The three kinds of messages come in the order of their numbers, each once: but those that no `through_message`
        has named come again at the worker that goes on with the session.
        """
        self.emit(StateChanged(through_message=text.number))

    def app_message_received(self, message: AppMessage) -> None:
        """The client's application sent this. Default: acknowledge it, and do nothing."""
        self.emit(StateChanged(through_message=message.number))

    def client_tool_returned(self, result: ClientToolResult) -> None:
        """A call of `CallClientTool` ended; after a resume also one that this conversation has not made.

        Default: acknowledge it, and do nothing.
        """
        if result.number is not None:
            self.emit(StateChanged(through_message=result.number))

    def interrupted(self, played_ms: int) -> None:
        """The current reply was cut off after `played_ms` of playback: stop making it. Default: nothing."""

    def say_again(self, text: str) -> None:
        """Stop the current reply and emit `text`, an earlier reply that was not played whole, as a `Reply` again.

        Called where the worker does not hold the reply's audio, above all at another one than made it; an operator's
        text comes this way, too.
        The text must be exactly this one. Default: nothing, for an agent that cannot repeat itself.
        """

    def finish(self) -> None:
        """No more audio follows: end and answer a pending utterance, then emit `Finished`.

        Called again, and answered again, where the user lost the connection meanwhile and came back.
        Default: emit `Finished` at once.
        """
        self.emit(Finished())

    def close(self) -> None:
        """Release everything; no event is emitted any more."""
        self._emit = None


class Agent(ABC):
    """A worker's agent: loads its models once, and opens conversations.

    The worker makes it as `cls(settings)` where the class names a `settings_model`, else as `cls()`.
    """

    name: str = ""
    """By which callers ask for the agent; empty for the name by which it was loaded."""
    input_rate_hz: int = 16_000
    """Of the audio that conversations take."""
    output_rate_hz: int = 24_000
    """Of the audio that conversations emit."""
    audio_format: AudioFormat = AudioFormat.PCM16
    """`PCMU`, which wants both rates at 8,000 Hz, passes a telephone's audio through without conversion."""

    settings_model: ClassVar[type[BaseModel] | None] = None
    """The pydantic model of `[agent.settings]`; without one there are no settings. Unknown keys are refused, unless
    the model allows them (`extra="allow"`). Relative `Path`s are looked up beside the settings file."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Modules that the agent imports when it opens; the worker does not start without them."""
    install: ClassVar[str] = ""
    """What brings the modules of `requires`, as `pip install` takes it: `voice-gateway[agent]`."""

    @property
    def malformed_messages(self) -> Mapping[str, int]:
        """How many messages of its vendor did not fit its protocol, by kind, at most 16 kinds; for the metrics."""
        return {}

    async def open(self) -> None:  # noqa: B027 - a default that works
        """Load models, make connections; raises `GatewayError` with one sentence where that is impossible."""

    @abstractmethod
    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        """Begin a conversation (`state` None), or restore one from its saved state."""

    async def close(self) -> None:  # noqa: B027 - as above
        """Close all conversations and release the models; called once, also where `open` failed."""


# Former names, for agents written before; deprecated.
HeardAudio = UserAudio
SpeechStarted = UserStartedSpeaking
SpeechStopped = UserStoppedSpeaking
Understood = FinalTranscript
Silence = NoSpeechUpTo

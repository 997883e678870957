"""One call in an agent host: the worker's messages become calls of a `Conversation`, its events messages. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    AgentFailed,
    AppMessage,
    ClientToolResult,
    Conversation,
    PlaybackFinished,
    ReplyAudio,
    SessionView,
    UserAudio,
    UserText,
)
from voice_gateway.hosts.messages import (
    MAX_MESSAGE_BYTES,
    AskApp,
    AskedMessage,
    AskFinish,
    AskGreet,
    AskPressed,
    AskSayAgain,
    AskText,
    AskToolResult,
    CallerAttached,
    CheckpointSaved,
    FromHost,
    FromWorker,
    Handled,
    Open,
    PlaybackProgress,
    ReplyInterrupted,
    ReplyPlayed,
    encode_control,
    encode_reply_audio,
)
from voice_gateway.hosts.process.transcript import CallTranscript
from voice_gateway.store.base import Line

Send = Callable[[bytes], None]
"""Sends one WebSocket message to the worker; never blocks."""


@dataclass(frozen=True, slots=True)
class CallFailure:
    """What the agent raised, by its type alone: the text may quote the caller."""

    session: str
    error: str


class ServedCall:
    """Holds one conversation; all methods are for the agent's event loop.

    What is emitted while a message is handled goes out as one message with the answer: a worker has all or nothing.
    """

    def __init__(self, agent: Agent, opened: Open, send: Send, on_failure: Callable[[CallFailure], None]) -> None:
        self.session = opened.session
        self.epoch = opened.epoch
        self._form = agent.audio_format
        self._send = send
        self._on_failure = on_failure
        self._is_attached = opened.is_attached
        self._together: list[AgentEvent | FromHost] | None = None
        lines = (Line(line.turn, line.role, line.text) for line in opened.transcript)
        self._transcript = CallTranscript(lines, opened.turn)
        self._conversation: Conversation | None = None
        self._is_failed = False
        with_view = SessionView(
            opened.session,
            opened.turn,
            opened.private_state,
            self._transcript.lines,
            lambda: self._is_attached,
            opened.epoch,
        )
        self._guarded(lambda: self._begin(agent, opened, with_view))

    def frame(self, sequence: int, audio: bytes) -> None:
        """Take the next uplink frame."""
        self._guarded(lambda: self._require().hear(UserAudio(sequence, audio)))

    def take(self, message: FromWorker) -> None:
        """Take a control message."""
        self._guarded(lambda: self._take(message))

    def close(self) -> None:
        """The worker has gone, or goes on elsewhere."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            self._is_failed = True  # nothing is emitted, and nothing taken any more
            try:
                conversation.close()
            except Exception as error:  # an agent may raise anything; the call is over all the same
                self._on_failure(CallFailure(self.session, type(error).__name__))

    def _begin(self, agent: Agent, opened: Open, view: SessionView) -> None:
        self._conversation = agent.converse(self._emit, opened.state)
        self._conversation.opened(view)

    def _take(self, message: FromWorker) -> None:
        conversation = self._require()
        match message:
            case AskGreet(is_again=is_again):
                if is_again:
                    conversation.greet_again()
                else:
                    conversation.greet()
            case AskPressed(digit=digit):
                conversation.pressed(digit)
            case AskSayAgain(text=text):
                self._transcript.say_again(text)
                conversation.say_again(text)
            case AskFinish():
                conversation.finish()
            case AskText(number=number, text=text):
                conversation.text_received(UserText(number, text))
            case AskApp(number=number, data=data):
                conversation.app_message_received(AppMessage(number, data))
            case AskToolResult(call_id=call_id, result=result, error=error, number=number):
                conversation.client_tool_returned(ClientToolResult(call_id, result, error, number))
            case ReplyInterrupted(played_ms=played_ms):
                conversation.interrupted(played_ms)
            case PlaybackProgress(played_ms=played_ms):
                conversation.played(played_ms)
            case ReplyPlayed(text=text, played_ms=played_ms, is_interrupted=is_interrupted):
                playback = PlaybackFinished(text, played_ms, is_interrupted)
                self._transcript.playback_finished(playback)
                conversation.playback_finished(playback)
            case CheckpointSaved(checkpoint=checkpoint):
                conversation.saved(checkpoint)
            case CallerAttached(is_attached=is_attached):
                self._is_attached = is_attached
        if isinstance(message, AskedMessage) and self._together is not None:
            self._together.append(Handled(id=message.id))

    def _guarded(self, step: Callable[[], None]) -> None:
        if self._is_failed:
            return
        self._together = []
        try:
            step()
        except Exception as error:  # an agent may raise anything; it ends this call, and no other
            self._is_failed = True
            self._on_failure(CallFailure(self.session, type(error).__name__))
            self._together = [AgentFailed(f"the agent failed: {type(error).__name__}")]
        finally:
            self._flush()
            self._together = None

    def _emit(self, event: AgentEvent) -> None:
        if self._is_failed:
            return
        self._transcript.emitted(event)
        if isinstance(event, ReplyAudio):
            self._flush()
            for raw in encode_reply_audio(event.pcm, self._form):
                self._send(raw)
        elif self._together is not None:
            self._together.append(event)
        else:
            self._send_together([event])

    def _flush(self) -> None:
        if self._together:
            together, self._together = self._together, []
            self._send_together(together)

    def _send_together(self, messages: list[AgentEvent | FromHost]) -> None:
        try:
            raw = encode_control(messages)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:  # a state that is not plain
            fault = type(error).__name__, "the agent's state is not plain maps, lists, strings and numbers"
        else:
            if len(raw) <= MAX_MESSAGE_BYTES:
                self._send(raw)
                return
            fault = (
                "TooLarge",
                f"the agent's state has {len(raw)} bytes: an agent host sends {MAX_MESSAGE_BYTES} at most",
            )
        self._is_failed = True
        self._on_failure(CallFailure(self.session, fault[0]))
        self._send(encode_control([AgentFailed(fault[1])]))

    def _require(self) -> Conversation:
        if self._conversation is None:
            raise RuntimeError("the call is not open")
        return self._conversation

"""Runs a call's coroutine as the conversation of a session, over a cascade that listens and speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec

from voice_gateway.agent.base import (
    AgentEvent,
    AgentFailed,
    AppMessage,
    ClientToolResult,
    Conversation,
    Emit,
    FinalTranscript,
    Finished,
    HangUp,
    NoSpeechUpTo,
    PartialTranscript,
    PlaybackFinished,
    SessionView,
    StopReply,
    UserAudio,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserText,
)
from voice_gateway.agent.call.call import Call, CallParts
from voice_gateway.agent.call.client import Client
from voice_gateway.agent.call.hearing.feeds import Feeds
from voice_gateway.agent.call.hearing.turn_taking import Interruptions, Taken, TurnTaking
from voice_gateway.agent.call.options import CallOptions
from voice_gateway.agent.call.progress.progress import Progress
from voice_gateway.agent.call.progress.tools import plain
from voice_gateway.agent.call.speaking.failures import Failures
from voice_gateway.agent.call.speaking.filler import Filler
from voice_gateway.agent.call.speaking.replies import Replies
from voice_gateway.agent.call.speaking.saying import Saying
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agent.cascade.cascade import Cascade
from voice_gateway.agent.cascade.parts import Answer, DialoguePolicy, OnAnswer
from voice_gateway.errors import ServiceError, StateTooLarge

_SAMPLE_BYTES: Final = 2
_MOST_PENDING_TURNS: Final = 256

Converse = Callable[[Call], Awaitable[None]]
_Arguments = ParamSpec("_Arguments")


def _guarded(
    method: Callable[Concatenate[CallConversation, _Arguments], None],
) -> Callable[Concatenate[CallConversation, _Arguments], None]:
    """What the method raises, of parts that the agent brought above all, is a failure of the call, and of no other."""

    @wraps(method)
    def guarded(self: CallConversation, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self._failures.failed(error)

    return guarded


class CallConversation(Conversation):
    """One session's call. The cascade finds the turns; what they are answered is the coroutine's.

    The coroutine begins when the session greets, or restores it, or a turn comes first. It is cancelled at `close`. One
    that returns ends the call. What fails, in the coroutine or in another part of the agent, is `Failures`' to handle.
    """

    def __init__(
        self, converse: Converse, cascade: Cascade, options: CallOptions, emit: Emit, state: Mapping[str, Any] | None
    ) -> None:
        super().__init__(emit)
        self._converse = converse
        self._options = options
        self._changes = Changes()
        self._progress = Progress(self.emit, self._changes, state, options.filler)
        self._replies = Replies(
            self.emit, cascade, self._changes, options.output_rate_hz * _SAMPLE_BYTES, options.playout_grace_s
        )
        self._feeds = Feeds(self._progress, self._changes)
        self._client = Client(self.emit, self._progress, self._changes)
        self._bytes_per_ms = options.input_rate_hz * _SAMPLE_BYTES / 1000
        self._audio_ms = 0.0
        self._taken = Taken(0, 0)
        self._turn_taking = TurnTaking(
            options.interruptions or Interruptions(),
            self.emit,
            self._replies,
            self._feeds.events.push,
            self._client.interrupted,
            options.most_unclear,
        )
        self._filler = Filler(options.filler, options.filler_after_s, self._replies, self._progress)
        self._failures = Failures(self.emit, self._replies, self._changes, options.apology)
        self._gives_turn_up = False
        self._through = -1
        self._has_begun = False
        self._finishing: asyncio.Task[None] | None = None
        self._listener = (
            cascade.converse(_Words(self._words, self._is_finished), self._heard) if options.listens else None
        )
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(lambda _task: self._changes.notify())

    @property
    def task(self) -> asyncio.Task[None]:
        """Runs until the call is over."""
        return self._task

    @_guarded
    def opened(self, session: SessionView) -> None:
        self._failures.session_id = session.session_id
        self._progress.restore(session)
        self._replies.is_attached = session.is_attached
        self._has_begun = bool(session.turn or session.transcript())

    def saved(self, checkpoint: int) -> None:
        self._progress.saved(checkpoint)

    def greet(self) -> None:
        """Let the coroutine begin."""
        self._has_begun = True
        self._changes.notify()

    @_guarded
    def greet_again(self) -> None:
        """Ask for what was lost, unless an answer is due anyway."""
        self.greet()
        asks_again = self._options.asks_again
        text = asks_again if isinstance(asks_again, str) else asks_again(plain(self._progress.state))
        if text and not self._progress.has_pending:
            self._replies.say_again(text)

    @_guarded
    def hear(self, audio: UserAudio) -> None:
        """Give the frame to the cascade, and to the agent where it reads frames."""
        self._audio_ms += len(audio.pcm) / self._bytes_per_ms
        self._replies.is_ending = False
        self._turn_taking.time_passes(self._audio_ms)
        self._feeds.audio.push(audio)
        if self._listener is not None:
            self._listener.hear(audio)
        elif not self._feeds.audio.is_read:
            self._heard(NoSpeechUpTo(audio.sequence))

    @_guarded
    def pressed(self, digit: str) -> None:
        """Interrupt what is being said, and make a turn of the key."""
        if not self._is_flooded():
            self._progress.understood(digit, self._through, self._break_in(), is_digit=True)

    @_guarded
    def text_received(self, text: UserText) -> None:
        """Interrupt what is being said, and make a turn of the text."""
        if not self._is_flooded():
            self._progress.understood(
                text.text, self._through, self._break_in(), is_text=True, through_message=text.number
            )

    @_guarded
    def app_message_received(self, message: AppMessage) -> None:
        self._client.message_received(message)

    @_guarded
    def client_tool_returned(self, result: ClientToolResult) -> None:
        self._client.tool_returned(result)

    @_guarded
    def interrupted(self, played_ms: int) -> None:
        self._replies.cut_off(is_wanted=False)

    @_guarded
    def playback_finished(self, playback: PlaybackFinished) -> None:
        self._replies.playback_finished(playback)

    @_guarded
    def say_again(self, text: str) -> None:
        self._replies.say_again(text)

    @_guarded
    def finish(self) -> None:
        """End the pending turn; once the coroutine waits for another one, emit `Finished`."""
        if self._listener is not None:
            self._listener.finish()
        else:
            self._heard(Finished())

    def close(self) -> None:
        """Cancel the coroutine."""
        super().close()
        self._failures.is_closed = True
        if self._listener is not None:
            self._listener.close()
        self._replies.stop_making()
        self._filler.close()
        self._task.cancel()
        if self._finishing is not None:
            self._finishing.cancel()

    def _is_flooded(self) -> bool:
        """Whether so many turns wait that the call ends: each is in the session record until it is answered."""
        is_flooded = self._progress.pending_count >= _MOST_PENDING_TURNS
        if is_flooded:
            self.emit(AgentFailed(f"{_MOST_PENDING_TURNS} turns wait for an answer"))
        return is_flooded

    def _break_in(self) -> tuple[int, int]:
        """Cut off what is being said, and return when that was, twice: as a turn's beginning and end."""
        if self._replies.is_saying:
            self.emit(StopReply())
            self._replies.cut_off()
        self._client.interrupted()
        at_ms = round(self._audio_ms)
        return at_ms, at_ms

    def _heard(self, event: AgentEvent) -> None:
        """Take what the cascade emits: turns become the coroutine's, the rest is the session's as it is."""
        match event:
            case FinalTranscript(text, through_sequence):
                self._through = through_sequence
                timing = (self._taken.started_ms, self._taken.ended_ms)
                self._progress.understood(text, through_sequence, timing)
                return
            case UserStartedSpeaking():
                self._turn_taking.started(event, round(self._audio_ms))
                return
            case UserStoppedSpeaking():
                self._turn_taking.stopped(event, round(self._audio_ms))
                return
            case AgentFailed(reason):
                self._stop_listening(ServiceError(reason))
                return
            case Finished():
                self._finish_when_idle()
                return
            case NoSpeechUpTo(through_sequence):
                self._through = through_sequence
            case PartialTranscript(text):
                self._turn_taking.partial(text)
                self._feeds.events.push(event)
        self.emit(event)

    @_guarded
    def _words(self, words: tuple[str, ...], on_answer: OnAnswer) -> None:
        """Take the final words of the oldest turn; one without words is noise."""
        self._taken = self._turn_taking.final(words)
        self._changes.notify()
        on_answer(None if self._taken.is_dropped else Answer(""))

    def _is_finished(self, words: tuple[str, ...]) -> bool | None:
        try:
            return None if self._options.is_finished is None else self._options.is_finished(words)
        except Exception as error:
            self._failures.failed(error)
            return None

    def _finish_when_idle(self) -> None:
        self._replies.is_ending = True
        self._changes.notify()
        if not self.is_closed and (self._finishing is None or self._finishing.done()):
            self._finishing = asyncio.get_running_loop().create_task(self._finish())

    async def _finish(self) -> None:
        def is_idle() -> bool:
            has_not_begun = not (self._has_begun or self._progress.has_pending)
            is_waiting = self._progress.is_idle or self._task.done() or has_not_begun
            return is_waiting and not (self._replies.is_making or self._replies.is_caller_speaking)

        await self._changes.until(is_idle)
        self._finishing = None
        self.emit(Finished())

    async def _run(self) -> None:
        def is_due() -> bool:
            return self._has_begun or self._progress.has_pending or self._failures.has_failed

        await self._changes.until(is_due)
        self._has_begun = True
        while (error := await self._failures.of(self._hold_call)) is not None:
            goes_on = isinstance(error, StateTooLarge) and self._progress.steps.turn and not self._failures.has_failed
            if not goes_on:
                await self._failures.end(error)
                return
            await self._failures.apologise(error)
            self._gives_turn_up = True
        if self._finishing is None:
            self.emit(HangUp())

    async def _hold_call(self) -> None:
        if self._gives_turn_up:
            self._gives_turn_up = False
            self._progress.abandon_turn()
        await self._converse(Call(self.emit, self._call_parts()))
        self._progress.commit()

    def _call_parts(self) -> CallParts:
        bytes_per_s = self._options.output_rate_hz * _SAMPLE_BYTES
        saying = Saying(self.emit, self._progress, self._replies, self._changes, bytes_per_s)
        return CallParts(self._progress, saying, self._feeds, self._client, self._filler)

    def _stop_listening(self, error: ServiceError) -> None:
        """The cascade cannot go on."""
        self._failures.failed(error)
        if self._listener is not None:
            self._listener.close()


class _Words(DialoguePolicy):
    """The cascade's dialogue: passes the words of each turn on."""

    def __init__(
        self,
        on_words: Callable[[tuple[str, ...], OnAnswer], None],
        is_finished: Callable[[tuple[str, ...]], bool | None],
    ) -> None:
        self._on_words = on_words
        self._is_finished = is_finished

    def is_finished(self, words: tuple[str, ...]) -> bool | None:
        return self._is_finished(words)

    def answer(self, words: tuple[str, ...], on_answer: OnAnswer) -> None:
        self._on_words(words, on_answer)

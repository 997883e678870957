"""A session's conversation, held by a pipeline: turns, answers and tools become the session's events."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from pipecat.frames.frames import LLMMessagesAppendFrame, LLMRunFrame, TTSSpeakFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection

from voice_gateway.agent.apology import LastReply
from voice_gateway.agent.base import (
    AgentFailed,
    AppMessage,
    Conversation,
    Emit,
    FinalTranscript,
    Finished,
    HangUp,
    NoSpeechUpTo,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    SendAppMessage,
    SessionView,
    StateChanged,
    StopReply,
    UserAudio,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserText,
)
from voice_gateway.agent.call.progress.journal import Journal
from voice_gateway.agent.call.progress.steps import Steps
from voice_gateway.agent.call.progress.tools import plain
from voice_gateway.agents.pipecat.call import PipecatCall
from voice_gateway.agents.pipecat.saved import Saved, plain_messages
from voice_gateway.agents.pipecat.transport import VoiceTransport
from voice_gateway.errors import AgentError, loggable

_CLOSING_SILENCE_S: Final = 1.5
_SETTLING_S: Final = 0.3
_HEARING_TIMEOUT_S: Final = 10.0
_CANCEL_AGAIN_S: Final = 30.0
"""Longer than Pipecat gives a cancelled pipeline; one that swallowed its cancellation ends then."""
_WORDS_TIMEOUT_S: Final = 1.0
_log = structlog.get_logger("voice_gateway.agents.pipecat")

Run = Callable[[VoiceTransport, PipecatCall], Awaitable[None]]


class PipecatConversation(Conversation):
    """Runs the pipeline from `opened` until `close`, and saves its context with each turn.

    Pending is a turn from its words until its answer was made whole. Another worker restores the context, and then
    answers a pending turn again, or says what of a whole answer was not played.
    """

    def __init__(
        self,
        run: Run,
        rates_hz: tuple[int, int],
        emit: Emit,
        state: Mapping[str, Any] | None,
        on_begin: Callable[[asyncio.Task[None], PipecatConversation], None],
        apology: str = "",
    ) -> None:
        super().__init__(emit)
        self.state: dict[str, Any] = plain(state or {})
        self._saved_state = plain(self.state)
        self._run = run
        self._on_begin = on_begin
        self._apology = apology
        self._last_reply = LastReply(self.emit, rates_hz[1])
        self._transport = VoiceTransport(self, *rates_hz)
        self._input, self._output = self._transport.input(), self._transport.output()
        self._playout, self._changes = self._output.playout, self._output.changes
        self._task: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._session: SessionView | None = None
        self._saved = Saved()
        self._context: LLMContext | None = None
        self._journal = Journal()
        self._steps = Steps(self._journal, self._save, self._checkpoint, emit=self.emit)
        self._checkpoints = itertools.count(1)
        self._saved_checkpoint = 0
        self._turn = 0
        self._through = -1
        self._is_ready = self._is_pending = self._greets = self._asks = False
        self._announced: list[str] = []
        self._answer = ""
        self._again: str | None = None
        """What the session asked to say again and was not found yet: the next reply that begins it has this text."""
        self._repeating = ""
        """What of that text is still to come within the reply under way."""

    @property
    def session_id(self) -> str:
        return "" if self._session is None else self._session.session_id

    @property
    def is_restored(self) -> bool:
        return bool(self._saved.messages) or self._turn > 0

    # the session's side

    def opened(self, session: SessionView) -> None:
        """Restore what was saved, and start the pipeline."""
        self._session, self._turn = session, session.turn
        private = session.private_state
        self._saved = Saved.from_state(private.get("pipeline", {}))
        self._is_pending = self._saved.is_pending
        self._journal = Journal(private)
        self._steps = Steps(self._journal, self._save, self._checkpoint, session, emit=self.emit)
        self._steps.begin(self._turn)
        self._task = asyncio.get_running_loop().create_task(self._hold())
        self._on_begin(self._task, self)

    def saved(self, checkpoint: int) -> None:
        self._saved_checkpoint = max(self._saved_checkpoint, checkpoint)
        self._changes.notify()

    def greet(self) -> None:
        """Let the pipeline know of its client, as soon as it has started."""
        self._greets = True
        self._begin_if_ready()

    def greet_again(self) -> None:
        """As `on_client_resumed`: what the user said last is lost."""
        self._asks = True
        self._begin_if_ready()

    def hear(self, audio: UserAudio) -> None:
        self._input.hear(audio.sequence, audio.pcm)

    def pressed(self, digit: str) -> None:
        self._spawn(self._input.press(digit))

    def text_received(self, text: UserText) -> None:
        """Interrupt what is being said, and make a turn of the text."""
        self._understood(text.text, self._through, text.number, {"role": "user", "content": text.text})
        self._spawn(self._append(text.text))

    def app_message_received(self, message: AppMessage) -> None:
        self._spawn(self._input.take(message.data))
        self.emit(StateChanged(through_message=message.number))

    def played(self, played_ms: int) -> None:
        self._playout.played(played_ms)
        self._changes.notify()

    def playback_finished(self, playback: PlaybackFinished) -> None:
        self._last_reply.playback_finished(playback)
        reply = self._playout.finished(playback.played_ms, is_interrupted=playback.is_interrupted)
        if reply is not None and playback.is_interrupted and self._output.cut_text is None:
            self._output.cut_text = playback.text
        self._changes.notify()

    def interrupted(self, played_ms: int) -> None:
        """Do nothing: an interruption of the pipeline is where it came from."""

    def say_again(self, text: str) -> None:
        """Emit the audio of these replies again; where it went with another worker, synthesise them."""
        reply = self._playout.again(text)
        if reply is None:
            self._again = text
            if self._is_ready:
                self._spawn(self._speak(text))
            return
        self.emit(Reply(text))
        if reply.audio:
            self.emit(ReplyAudio(bytes(reply.audio)))
        if reply.is_ended:
            self.emit(ReplyEnded())
        self._changes.notify()

    def finish(self) -> None:
        """End the turn under way; once it is answered, emit `Finished`."""
        until_s = self._output.silence_heard_s + _CLOSING_SILENCE_S
        self._input.hear_silence(_CLOSING_SILENCE_S)
        self._spawn(self._finish(until_s))

    def close(self) -> None:
        """Cancel the pipeline."""
        super().close()
        for task in (self._task, *self._background):
            if task is not None:
                task.cancel()
        if self._task is not None and not self._task.done():
            asyncio.get_running_loop().call_later(_CANCEL_AGAIN_S, self._task.cancel)

    # the pipeline's side

    async def ready(self, context: LLMContext | None) -> None:
        """The pipeline has started: give it its context, and what it is to do first."""
        self._context = context
        if context is not None and self._saved.messages:
            messages = list(self._saved.messages)
            if self._saved.answer and self._again is None:
                messages.append({"role": "assistant", "content": self._saved.answer})
            context.set_messages(messages)  # type: ignore[arg-type,unused-ignore]  # pipecat types them as of OpenAI
        self._is_ready = True
        if self._is_pending and self.is_restored:
            await self._queue(LLMRunFrame())
        elif self._again is not None and self._saved.answer:
            await self._speak(self._again)
        elif self._again is not None or not self.is_restored:
            self._greets = True
        if (self._is_pending and self.is_restored) or self._saved.answer:
            self._greets = False
        if self.is_restored:
            await self._transport.happened("on_client_resumed")
        self._begin_if_ready()

    def interrupting(self, *, is_user: bool) -> None:
        self._again, self._repeating = None, ""
        self.emit(UserStartedSpeaking(max(self._through + 1, 0)) if is_user else StopReply())

    def stopped_speaking(self, sequence: int) -> None:
        if sequence >= 0:
            self.emit(UserStoppedSpeaking(sequence))

    def understood(self, text: str, through_sequence: int) -> None:
        """A turn is complete, and its words are in the context."""
        self._understood(text, through_sequence)

    def silent(self, through_sequence: int) -> None:
        self._through = max(self._through, through_sequence)
        self.emit(NoSpeechUpTo(through_sequence))

    def reply(self, text: str) -> None:
        if self._again is not None and text and (self._again == text or self._again.startswith(f"{text} ")):
            again, self._again = self._again, None
            self._repeating = again[len(text) :].lstrip()
            text = again
        elif self._again is not None:
            self._again = None
        self.emit(Reply(text))

    def reply_audio(self, pcm: bytes) -> None:
        self.emit(ReplyAudio(pcm))

    def reply_ended(self) -> None:
        self.emit(ReplyEnded())

    def announced(self, text: str) -> None:
        self._announced.append(text)

    def answer_made(self) -> None:
        """All of the answer was made: it is said again, and not made again, where this worker dies."""
        if self._announced:
            self._answer, self._is_pending = " ".join(self._announced), False
            self._announced.clear()
            self._save()

    def answer_in_context(self) -> None:
        """The context holds what was heard of the answer."""
        if not self._is_pending:
            self._answered()

    def answer_cut(self) -> None:
        """The user, or the pipeline itself, cut the answer off, or what was to lead to one."""
        self._announced.clear()
        if self._is_pending or self._answer:
            self._answered()

    def message(self, message: Any) -> None:
        self.emit(SendAppMessage(plain(message)))

    def is_attached(self) -> bool:
        return self._session is None or self._session.is_attached()

    async def tool(self, run: Callable[..., Awaitable[Any]], arguments: Mapping[str, Any]) -> Any:
        """Call a tool of the turn that is pending, or return what it returned at an earlier worker."""
        await self._changes.until(lambda: not self._input.is_listening, _WORDS_TIMEOUT_S)
        return await self._steps.tool(run, arguments)

    def _understood(
        self, text: str, through_sequence: int, number: int | None = None, message: dict[str, Any] | None = None
    ) -> None:
        self._turn += 1
        self._through = max(self._through, through_sequence)
        self._is_pending, self._answer = True, ""
        self._announced.clear()
        self._steps.begin(self._turn)
        private = self._remember(message)
        # the state goes with the answer: the turn changes it, and is repeated where that is not saved
        self.emit(FinalTranscript(text, self._through, private_state=private, through_message=number))
        self._changes.notify()

    def _answered(self) -> None:
        self._is_pending, self._answer = False, ""
        self._journal.answered(self._turn)
        self._save()

    def _save(self) -> None:
        self.emit(StateChanged(self._changed_state(), self._remember()))

    async def _checkpoint(self) -> None:
        checkpoint = next(self._checkpoints)
        self.emit(StateChanged(private_state=self._remember(), checkpoint=checkpoint))
        await self._changes.until(lambda: self._saved_checkpoint >= checkpoint)

    def _changed_state(self) -> dict[str, Any] | None:
        state = plain(self.state)
        if state == self._saved_state:
            return None
        self._saved_state = state
        return plain(state)  # type: ignore[no-any-return]  # a copy of a map is a map

    def _remember(self, message: Mapping[str, Any] | None = None) -> dict[str, Any]:
        messages = self._saved.messages if self._context is None else plain_messages(self._context.get_messages())
        if message is not None:
            messages = (*messages, message)
        saved = Saved(messages, self._is_pending, self._answer)
        return {"pipeline": saved.to_state(), **plain(self._journal.to_state())}

    def _begin_if_ready(self) -> None:
        if not self._is_ready:
            return
        greets, self._greets = self._greets, False
        asks, self._asks = self._asks, False
        if greets:
            self._spawn(self._transport.happened("on_client_connected"))
        elif asks:
            self._spawn(self._transport.happened("on_client_resumed"))

    async def _speak(self, text: str) -> None:
        await self._queue(TTSSpeakFrame(text, append_to_context=True))

    async def _append(self, text: str) -> None:
        await self._input.broadcast_interruption()
        await self._queue(LLMMessagesAppendFrame([{"role": "user", "content": text}], run_llm=True))

    async def _queue(self, frame: Any) -> None:
        await self._input.queue_frame(frame, FrameDirection.DOWNSTREAM)

    async def _finish(self, until_s: float) -> None:
        await self._changes.until(lambda: self._output.silence_heard_s >= until_s - 0.01, _HEARING_TIMEOUT_S)
        await asyncio.sleep(_SETTLING_S)
        while self._input.is_listening or self._is_pending or self._output.is_busy:  # noqa: ASYNC110 - time is a cause
            await asyncio.sleep(_SETTLING_S / 10)
        self.emit(Finished())

    async def _hold(self) -> None:
        try:
            await self._run(self._transport, PipecatCall(self))
        except Exception as error:
            _log.error(
                "pipecat_agent_failed",
                session=self.session_id,
                **loggable(error),
            )
            await self._last_reply.say(self._apology)
            reason = str(error) if isinstance(error, AgentError) else f"the agent failed: {type(error).__name__}"
            self.emit(AgentFailed(reason))
        else:
            self.emit(HangUp())
        finally:
            await self._transport.happened("on_client_disconnected")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

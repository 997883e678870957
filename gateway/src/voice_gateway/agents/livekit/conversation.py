"""Runs a LiveKit `AgentSession` as the conversation of a session."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from livekit import rtc
from livekit.agents import Agent as LiveKitsAgent
from livekit.agents import AgentSession, APIStatusError, ChatContext
from livekit.agents.voice.events import (
    AgentStateChangedEvent,
    CloseEvent,
    ConversationItemAddedEvent,
    ErrorEvent,
    FunctionToolsExecutedEvent,
    SpeechCreatedEvent,
    ToolExecutionUpdatedEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
)
from livekit.agents.voice.io import AudioInput
from livekit.agents.voice.speech_handle import SpeechHandle

from voice_gateway.agent.apology import LastReply
from voice_gateway.agent.base import (
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
    StateChanged,
    StopReply,
    UserAudio,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserText,
)
from voice_gateway.agent.call.progress.journal import Journal, Turn
from voice_gateway.agent.call.progress.steps import Steps
from voice_gateway.agent.call.progress.tools import plain
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.livekit.history import Continuation, continue_from, from_saved, normal, to_saved
from voice_gateway.agents.livekit.playout import Playout, Texts
from voice_gateway.agents.livekit.tools import CURRENT_STEPS
from voice_gateway.agents.livekit.uplink import Uplink
from voice_gateway.errors import loggable

_SAMPLE_BYTES: Final = 2
_CATCH_UP: Final = 8
"""How many times faster than speech frames that were sent again are read: LiveKit's events carry no positions."""
_ANSWER_WAIT_S: Final = 0.05
"""After so long an answer without a tool's call is whole: LiveKit starts tools as soon as it reads of them."""
_FINISH_SILENCE_S: Final = 1.5
_FINISH_WAIT_S: Final = 10.0
_REFUSALS: Final = frozenset({401, 402, 403, 404})
"""HTTP statuses of a vendor that refuses the key, the account or the model, and so each turn that follows."""
_log = structlog.get_logger("voice_gateway.agents.livekit")


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a `LiveKitAgent` decides."""

    session: Callable[[], AgentSession[Any]]
    agent: Callable[[ChatContext], LiveKitsAgent]
    on_digit: Callable[[AgentSession[Any], str], None]
    asks_again: str
    grace_s: float
    apology: str


class LiveKitConversation(Conversation):
    """One session's call.

    A turn is pending from its transcript on until LiveKit has no speech left to make or play: then the history is
    saved with the turn's end. Another worker takes the history up, and has the model answer what is pending.
    """

    def __init__(
        self, hooks: Hooks, emit: Emit, state: Mapping[str, Any] | None, input_rate_hz: int, output_rate_hz: int
    ) -> None:
        super().__init__(emit)
        self._hooks = hooks
        self._saved_state: dict[str, Any] = plain(state or {})
        self._changes = Changes()
        self._input = _Input(input_rate_hz, self._read)
        self._uplink = Uplink()
        self._texts = Texts(self._answered)
        self._playout = Playout(self.emit, self._texts, output_rate_hz, grace_s=hooks.grace_s, on_stop=self._stop_reply)
        self._view: SessionView | None = None
        self._history = _History()
        self._journal = Journal()
        self._steps = Steps(self._journal, self._save, self._checkpoint, emit=self.emit)
        self._checkpoints = itertools.count(1)
        self._saved_checkpoint = 0
        self._turn = 0
        self._again: str | None = None
        self._asks_again = False
        self._typed: list[str | UserText] = []
        """Keys and texts that wait for the session to start."""
        self._texts_due: deque[UserText] = deque()
        """Texts that are no turns yet."""
        self._messages_read: deque[int] = deque()
        """Numbers of other messages that came after such a text: to acknowledge them is to acknowledge it."""
        self._has_begun = False
        self._is_started = False
        self._announced = False
        self._onset = -1
        self._continues = False
        """Whether what an earlier worker left to do was not begun yet."""
        self._continuation = Continuation()
        self._speeches: set[SpeechHandle] = set()
        self._exact: SpeechHandle | None = None
        """The speech that `Playout.exactly` is for."""
        self._own_texts: list[str] = []
        """What is said for an earlier worker, or without the model: no part of an answer that is being made."""
        self._session: AgentSession[Any] | None = None
        self._refusal = ""
        """Which part of LiveKit's session a vendor refused to work for, where that ended the session."""
        self._finishing: asyncio.Task[None] | None = None
        self._failing: asyncio.Task[None] | None = None
        self._last_reply = LastReply(self.emit, output_rate_hz)
        self.task = asyncio.get_running_loop().create_task(self._run())

    def opened(self, session: SessionView) -> None:
        """Take the history and the pending turn of an earlier worker."""
        saved = session.private_state
        self._view = session
        self._playout.is_attached = session.is_attached
        self._turn = session.turn
        self._history = _History.restored(saved)
        self._journal = Journal(saved)
        self._steps = Steps(self._journal, self._save, self._checkpoint, session, emit=self.emit)
        self._steps.begin(self._turn, self._history.tools)
        self._has_begun = bool(session.turn or session.transcript())
        self._changes.notify()

    def saved(self, checkpoint: int) -> None:
        self._saved_checkpoint = max(self._saved_checkpoint, checkpoint)
        self._changes.notify()

    def playback_finished(self, playback: PlaybackFinished) -> None:
        if self._failing is None:
            self._playout.playback_finished(playback)
        else:
            self._last_reply.playback_finished(playback)

    def greet(self) -> None:
        """Let the session begin; in a new call the agent's `on_enter` speaks first."""
        self._has_begun = True
        self._changes.notify()

    def greet_again(self) -> None:
        """Ask for what was lost, unless an answer is due anyway."""
        self._asks_again = not self._journal.pending
        self.greet()
        if self._is_started:
            self._ask_again()

    def hear(self, audio: UserAudio) -> None:
        """Queue the frame for LiveKit."""
        self._playout.is_ending = False
        self._has_begun = True
        self._input.push(audio.pcm, audio.sequence)
        self._changes.notify()

    def pressed(self, digit: str) -> None:
        """Tell the agent, once its session runs."""
        self._type(digit)

    def text_received(self, text: UserText) -> None:
        """Make a turn of it, once the session runs; the message is acknowledged with the turn."""
        self._type(text)

    def app_message_received(self, message: AppMessage) -> None:
        """Acknowledge it after the texts before it; agents do not read such messages."""
        self._message_read(message.number)

    def client_tool_returned(self, result: ClientToolResult) -> None:
        """Acknowledge it after the texts before it; agents call no tools of clients."""
        if result.number is not None:
            self._message_read(result.number)

    def interrupted(self, played_ms: int) -> None:
        """Reports about the replies follow; that LiveKit stops is its own decision, or follows here."""
        if self._session is not None and self._is_started and self._playout.is_saying and not self._speeches_stopped():
            self._session.interrupt(force=True)
        self._playout.clear_buffer()

    def say_again(self, text: str) -> None:
        """Say it from what is kept, or else have text to speech make it again, unless it is about to."""
        if self._playout.say_again(text) or self._playout.exactly == text:
            return
        if self._is_started and self._session is not None:
            self._say_exactly(self._session, text, keeps=True)
        else:
            self._again = text

    def finish(self) -> None:
        """Read silence, by which LiveKit ends a turn; once it is idle, emit `Finished`."""
        if not self._has_begun:
            self.emit(Finished())
        elif not self.is_closed and (self._finishing is None or self._finishing.done()):
            self._playout.ending()
            self._finishing = asyncio.get_running_loop().create_task(self._finish())

    def close(self) -> None:
        """End LiveKit's session, in the task."""
        super().close()
        self._playout.close()
        for task in (self._finishing, self._failing):
            if task is not None:
                task.cancel()
        self.task.cancel()

    # what LiveKit tells

    def _read(self, sequence: int, duration_ms: float) -> None:
        silent = self._uplink.read(sequence, duration_ms)
        if silent is not None:
            self.emit(NoSpeechUpTo(silent))

    def _user_state_changed(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._onset = self._uplink.started()
            self._announced = False
            if not self._playout.is_saying:  # LiveKit decides itself what interrupts its speech
                self._announce()
        elif self._uplink.is_speaking:
            sequence = self._uplink.stopped()
            if self._announced:
                self.emit(UserStoppedSpeaking(sequence))
        self._changes.notify()

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            self.emit(UserStartedSpeaking(self._onset))

    def _stop_reply(self) -> None:
        """LiveKit cuts its speech off: because of the user's voice, or for a reason of its own."""
        if self._uplink.is_speaking and not self._announced:
            self._announce()
        else:
            self.emit(StopReply())

    def _transcribed(self, event: UserInputTranscribedEvent) -> None:
        if event.is_final:
            self._uplink.transcribed(event.transcript)
        else:
            self.emit(PartialTranscript(event.transcript))
        self._changes.notify()

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if item.type != "message":
            return
        text = item.text_content or ""
        if item.role != "user":
            self._save()
            return
        self._turn += 1
        through = self._uplink.committed(text)
        self._journal.understood(Turn(self._turn, text, through))
        self._steps.begin(self._turn)
        self._history.begin()
        number = self._number_of(text)
        self.emit(FinalTranscript(text, through, private_state=self._remember(), through_message=number))
        self._acknowledge()

    def _number_of(self, text: str) -> int | None:
        """Forget the typed text that became a turn, with those before it: LiveKit drops one that is interrupted."""
        if all(each.text != text for each in self._texts_due):
            return None
        while (typed := self._texts_due.popleft()).text != text:
            pass
        return typed.number

    def _message_read(self, number: int) -> None:
        self._messages_read.append(number)
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Acknowledge messages up to the first text that is no turn yet."""
        texts = (each for each in (*self._texts_due, *self._typed) if isinstance(each, UserText))
        waiting = [each.number for each in texts if each.number is not None]
        while self._messages_read and (not waiting or self._messages_read[0] < waiting[0]):
            self.emit(StateChanged(through_message=self._messages_read.popleft()))

    def _answered(self, text: str) -> None:
        """The model gave the whole text of an answer, or of one between tools' calls."""
        if text in self._own_texts:
            self._own_texts.remove(text)
        else:
            asyncio.get_running_loop().call_later(_ANSWER_WAIT_S, self._answer_is_whole, self._turn, text)

    def _answer_is_whole(self, turn: int, text: str) -> None:
        if turn == self._turn and not self._history.has_tools and self._journal.pending:
            self._history.answer = f"{self._history.answer or ''} {text}".strip()
            self._save()

    def _tool_updated(self, event: ToolExecutionUpdatedEvent) -> None:
        if event.update.type == "tool_call_started":
            self._history.has_tools = True
            self._history.answer = None

    def _tools_executed(self, _event: FunctionToolsExecutedEvent) -> None:
        """The results enter the history after this event."""
        asyncio.get_running_loop().call_soon(self._tools_done)

    def _tools_done(self) -> None:
        self._history.has_tools = False
        self._history.answer = None
        self._history.tools = self._steps.tools_called
        self._save()

    def _speech_created(self, event: SpeechCreatedEvent) -> None:
        self._speeches.add(event.speech_handle)
        event.speech_handle.add_done_callback(self._speech_done)

    def _speech_done(self, speech: SpeechHandle) -> None:
        self._speeches.discard(speech)
        if speech is self._exact:  # it may have been cut off before a first frame
            self._exact = self._playout.exactly = None
        self._turn_over()
        self._changes.notify()

    def _agent_state_changed(self, _event: AgentStateChangedEvent) -> None:
        self._changes.notify()

    def _turn_over(self) -> None:
        """Nothing is being said or prepared: what is pending was answered."""
        if self._speeches or not self._journal.pending or self._continues:
            return
        for turn in self._journal.pending:
            self._journal.answered(turn.number)
        self._history.begin()
        self._save()

    def _erred(self, event: ErrorEvent) -> None:
        """End LiveKit's session at once where a vendor refuses: LiveKit itself lets three turns pass in silence."""
        cause = getattr(event.error, "error", None)
        if isinstance(cause, APIStatusError) and cause.status_code in _REFUSALS and not event.error.recoverable:
            self._refusal = self._refusal or f"{type(event.error).__name__} of {event.error.label}"
            self._end_refused()

    def _end_refused(self) -> None:
        if self._refusal and self._is_started and self._session is not None:
            self._session.shutdown(drain=False)

    def _closed(self, event: CloseEvent) -> None:
        cause = self._refusal if event.error is None else f"{type(event.error).__name__} of {event.error.label}"
        if cause:
            self._fail(f"LiveKit's session ended: {cause}")
        else:
            self.emit(HangUp())

    # the session's life

    async def _run(self) -> None:
        await self._changes.until(lambda: self._has_begun)
        CURRENT_STEPS.set(lambda: self._steps)
        try:
            self._continue(await self._start())
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if not self.is_closed:
                raise
        except Exception as error:
            _log.error(
                "livekit_agent_failed",
                session=None if self._view is None else self._view.session_id,
                **loggable(error),
            )
            self._fail(f"the LiveKit agent could not start: {type(error).__name__}")
        finally:
            if self._session is not None:
                await self._session.aclose()

    async def _start(self) -> AgentSession[Any]:
        view, history = self._view, self._history
        lines = () if view is None else view.transcript()
        is_new = self._turn == 0 and not any(line.role == "agent" for line in lines)
        session = self._session = self._hooks.session()
        context = from_saved(history.chat)
        is_pending = bool(self._journal.pending)
        self._continuation = continue_from(context, lines, self._again or "", history.answer, is_pending=is_pending)
        self._continues = not is_new
        agent = self._hooks.agent(context)
        if not is_new:
            agent.on_enter = _nothing  # it greets, and this caller was greeted
        state = _state_of(session)
        if state is not None:
            state.update(plain(self._saved_state))
        session.input.audio, session.output.audio = self._input, self._playout
        session.output.transcription = self._texts
        session.on("user_state_changed", self._user_state_changed)
        session.on("agent_state_changed", self._agent_state_changed)
        session.on("user_input_transcribed", self._transcribed)
        session.on("conversation_item_added", self._item_added)
        session.on("function_tools_executed", self._tools_executed)
        session.on("tool_execution_updated", self._tool_updated)
        session.on("speech_created", self._speech_created)
        session.on("error", self._erred)
        await session.start(agent, record=False)
        session.on("close", self._closed)
        self._is_started = True
        self._end_refused()
        return session

    def _continue(self, session: AgentSession[Any]) -> None:
        """Do what an earlier worker has left to do."""
        todo = self._continuation
        if todo.again:
            self._say_exactly(session, todo.again, keeps=not todo.answers)
        if todo.rest:
            self._say(session, todo.rest)
        if todo.answers:
            self._playout.said = todo.said
            session.generate_reply()
        self._continues = False
        self._turn_over()
        if self._again and self._again != todo.again:  # it came while the session started
            self._say_exactly(session, self._again, keeps=True)
        if self._asks_again:
            self._ask_again()
        self._take_typed(session)

    def _type(self, typed: str | UserText) -> None:
        self._has_begun = True
        self._typed.append(typed)
        self._changes.notify()
        if self._session is not None and self._is_started:
            self._take_typed(self._session)

    def _take_typed(self, session: AgentSession[Any]) -> None:
        typed, self._typed = self._typed, []
        for each in typed:
            if isinstance(each, UserText):
                self._texts_due.append(each)
                session.interrupt()
                session.generate_reply(user_input=each.text)
            else:
                self._hooks.on_digit(session, each)

    def _say_exactly(self, session: AgentSession[Any], text: str, *, keeps: bool) -> None:
        self._playout.exactly = text
        self._exact = self._say(session, text, keeps=keeps)

    def _say(self, session: AgentSession[Any], text: str, *, keeps: bool = True) -> SpeechHandle:
        self._own_texts.append(normal(text))
        return session.say(text, add_to_chat_ctx=keeps)

    def _ask_again(self) -> None:
        self._asks_again = False
        if self._session is not None and self._hooks.asks_again:
            self._say(self._session, self._hooks.asks_again)

    def _speeches_stopped(self) -> bool:
        return all(speech.interrupted for speech in self._speeches)

    async def _finish(self) -> None:
        await self._changes.until(lambda: self._is_started or self.task.done())
        self._input.push_silence(_FINISH_SILENCE_S)

        def is_idle() -> bool:
            is_understood = not (self._uplink.is_speaking or self._uplink.has_transcripts or self._uplink.is_waiting)
            return self.task.done() or (self._input.is_read and is_understood and not self._speeches)

        await self._changes.until(lambda: self.task.done() or self._input.is_read, _FINISH_WAIT_S)
        await asyncio.sleep(_FINISH_SILENCE_S / _CATCH_UP)  # the newest windows of voice activity
        await self._changes.until(is_idle, _FINISH_WAIT_S)
        if self._session is not None and not self.task.done():
            await self._changes.until(lambda: not self._speeches, _FINISH_WAIT_S)
        self._finishing = None
        self.emit(Finished())

    def _fail(self, reason: str) -> None:
        if self._failing is None and not self.is_closed:
            _log.error(
                "livekit_call_failed", session=None if self._view is None else self._view.session_id, reason=reason
            )
            self._failing = asyncio.get_running_loop().create_task(self._apologise(reason))

    async def _apologise(self, reason: str) -> None:
        """Let the caller hear the apology, and end the session."""
        await self._last_reply.say(self._hooks.apology)
        self.emit(AgentFailed(reason))

    # what is saved

    def _save(self) -> None:
        self._emit_state(None)

    async def _checkpoint(self) -> None:
        checkpoint = next(self._checkpoints)
        self._emit_state(checkpoint)
        await self._changes.until(lambda: self._saved_checkpoint >= checkpoint)

    def _emit_state(self, checkpoint: int | None) -> None:
        state = plain(None if self._session is None else _state_of(self._session))
        is_changed = state is not None and state != self._saved_state
        if is_changed:
            self._saved_state = state
        self.emit(StateChanged(plain(state) if is_changed else None, self._remember(), checkpoint))

    def _remember(self) -> dict[str, Any]:
        if self._session is not None and self._is_started:
            self._history.chat = to_saved(self._session.current_agent.chat_ctx)
        saved: dict[str, Any] = plain({**self._journal.to_state(), "livekit": self._history.to_state()})
        return saved


@dataclass(slots=True)
class _History:
    """LiveKit's chat context as it was last, and how far the pending turn is answered.

    `answer` is the whole text of it, where the model gave all. `tools` counts the journalled calls whose results are
    in the context. `has_tools` while tools run.
    """

    chat: dict[str, Any] | None = None
    answer: str | None = None
    tools: int = 0
    has_tools: bool = False

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> _History:
        given = saved.get("livekit") or {}
        return cls(given.get("chat"), given.get("answer"), given.get("tools", 0))

    def begin(self) -> None:
        """A turn begins, or is over."""
        self.answer, self.tools, self.has_tools = None, 0, False

    def to_state(self) -> dict[str, Any]:
        state = {"chat": self.chat, "answer": self.answer, "tools": self.tools}
        return {key: value for key, value in state.items() if value}


class _Input(AudioInput):
    """The user's frames, at most `_CATCH_UP` times as fast as they were spoken."""

    def __init__(self, rate_hz: int, on_read: Callable[[int, float], None]) -> None:
        super().__init__(label="voice-gateway")
        self._rate_hz = rate_hz
        self._on_read = on_read
        self._frames: deque[tuple[bytes, int | None]] = deque()
        self._changes = Changes()
        self._is_behind = False

    @property
    def is_read(self) -> bool:
        """Whether LiveKit has read all."""
        return not self._frames

    def push(self, pcm: bytes, sequence: int | None) -> None:
        """Take a frame; of none that the user sent, the sequence is `None`."""
        self._frames.append((pcm, sequence))
        self._changes.notify()

    def push_silence(self, duration_s: float) -> None:
        """Add silence in frames of 20 ms."""
        for _ in range(round(duration_s * 50)):
            self.push(bytes(self._rate_hz // 50 * _SAMPLE_BYTES), None)

    async def __anext__(self) -> rtc.AudioFrame:
        """Return the next frame; the one before has been taken by LiveKit's voice activity and speech to text."""
        await self._changes.until(lambda: bool(self._frames))
        pcm, sequence = self._frames.popleft()
        samples = len(pcm) // _SAMPLE_BYTES
        if self._frames:
            await asyncio.sleep(samples / self._rate_hz / _CATCH_UP)
        if sequence is not None:
            self._on_read(sequence, samples * 1000 / self._rate_hz)
        return rtc.AudioFrame(pcm, self._rate_hz, 1, samples)


async def _nothing() -> None:
    """Stand in for `on_enter` where an earlier worker had greeted."""


def _state_of(session: AgentSession[Any]) -> dict[str, Any] | None:
    """Return the session's `userdata` where it is a dict, which is the state."""
    try:
        data: object = session.userdata
    except ValueError:
        return None
    return data if isinstance(data, dict) else None

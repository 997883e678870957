"""A session's conversation, held by a LiveKit `AgentSession`: hands each event to the part that it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from livekit.agents import Agent as LiveKitsAgent
from livekit.agents import AgentSession, ChatContext
from livekit.agents.voice.events import (
    AgentStateChangedEvent,
    ConversationItemAddedEvent,
    FunctionToolsExecutedEvent,
    ToolExecutionUpdatedEvent,
)

from voice_gateway.agent.apology import offline_apology
from voice_gateway.agent.base import (
    AppMessage,
    ClientToolResult,
    Conversation,
    Emit,
    FinalTranscript,
    Finished,
    PlaybackFinished,
    SessionView,
    UserAudio,
    UserText,
)
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agent.last_reply import LastReply
from voice_gateway.agents.livekit.audio_io.speech_output import SpeechOutput
from voice_gateway.agents.livekit.audio_io.texts import Texts
from voice_gateway.agents.livekit.audio_io.user_input import SAMPLE_BYTES, UserInput
from voice_gateway.agents.livekit.call.finish import LiveKitFinish
from voice_gateway.agents.livekit.call.progress import LiveKitProgress
from voice_gateway.agents.livekit.call.resumption import Resumption
from voice_gateway.agents.livekit.call.speeches import Speeches
from voice_gateway.agents.livekit.call.typed_input import TypedInput
from voice_gateway.agents.livekit.call.user_speech import UserSpeech
from voice_gateway.agents.livekit.run import LiveKitRun
from voice_gateway.agents.livekit.tools import CURRENT_STEPS

_ANSWER_WAIT_S: Final = 0.05
"""After so long an answer without a tool's call is whole: LiveKit starts tools as soon as it reads of them."""


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
        self._view: SessionView | None = None
        self._changes = changes = Changes()
        self._progress = LiveKitProgress(self.emit, changes, state)
        self._speech = UserSpeech(self.emit, changes, lambda: self._output.is_saying)
        self._input = UserInput(input_rate_hz, self._speech.read)
        self._texts = Texts(self._answered)
        self._output = SpeechOutput(
            self.emit, self._texts, output_rate_hz, grace_s=hooks.grace_s, on_stop=self._speech.reply_cut
        )
        self._speeches = Speeches(self._output, self._speech_done)
        self._resumption = Resumption(self._progress, self._speeches, self._output, hooks.asks_again)
        self._typed = TypedInput(self.emit, hooks.on_digit)
        self._last_reply = LastReply(self.emit, output_rate_hz * SAMPLE_BYTES)
        self._run = LiveKitRun(
            self.emit, changes, self._last_reply, partial(offline_apology, hooks.apology, output_rate_hz)
        )
        self._finish = LiveKitFinish(self.emit, changes, self._run, self._input, self._speech, self._speeches)
        self.task = self._run.hold(hooks.session, self._start)

    def opened(self, session: SessionView) -> None:
        """Take the history and the pending turn of an earlier worker."""
        self._view = session
        self._run.session_id = session.session_id
        self._output.is_attached = session.is_attached
        self._progress.restore(session)
        if session.turn or session.transcript():
            self._run.begin()

    def saved(self, checkpoint: int) -> None:
        self._progress.saved(checkpoint)

    def playback_finished(self, playback: PlaybackFinished) -> None:
        if self._run.has_failed:
            self._last_reply.playback_finished(playback)
        else:
            self._output.playback_finished(playback)

    def greet(self) -> None:
        """Let the session begin; in a new call the agent's `on_enter` speaks first."""
        self._run.begin()

    def greet_again(self) -> None:
        """Ask for what was lost, unless an answer is due anyway."""
        self._run.begin()
        self._resumption.ask(self._run.session)

    def hear(self, audio: UserAudio) -> None:
        """Queue the frame for LiveKit."""
        self._output.is_ending = False
        self._input.push(audio.pcm, audio.sequence)
        self._run.begin()

    def pressed(self, digit: str) -> None:
        """Tell the agent, once its session runs."""
        self._type(digit)

    def text_received(self, text: UserText) -> None:
        """Make a turn of it, once the session runs; the message is acknowledged with the turn."""
        self._type(text)

    def app_message_received(self, message: AppMessage) -> None:
        """Acknowledge it after the texts before it; agents do not read such messages."""
        self._typed.message_read(message.number)

    def client_tool_returned(self, result: ClientToolResult) -> None:
        """Acknowledge it after the texts before it; agents call no tools of clients."""
        if result.number is not None:
            self._typed.message_read(result.number)

    def interrupted(self, played_ms: int) -> None:
        """Reports about the replies follow; that LiveKit stops is its own decision, or follows here."""
        session = self._run.session
        if session is not None and self._output.is_saying and not self._speeches.are_interrupted:
            session.interrupt(force=True)
        self._output.clear_buffer()

    def say_again(self, text: str) -> None:
        """Say it from what is kept, or else have text to speech make it again, unless it is about to."""
        if not self._output.say_again(text) and self._output.exactly != text:
            self._resumption.say_again(text, self._run.session)

    def finish(self) -> None:
        """Read silence, by which LiveKit ends a turn; once it is idle, emit `Finished`."""
        if not self._run.has_begun:
            self.emit(Finished())
        elif not self.is_closed and self._finish.begin(self.task):
            self._output.ending()

    def close(self) -> None:
        """End LiveKit's session, in the task."""
        super().close()
        self._output.close()
        self._finish.close()
        self._run.close()
        self.task.cancel()

    async def _start(self, session: AgentSession[Any]) -> None:
        CURRENT_STEPS.set(lambda: self._progress.steps)
        context, is_new = self._resumption.context(self._view)
        agent = self._hooks.agent(context)
        if not is_new:
            agent.on_enter = _nothing  # it greets, and this caller was greeted
        self._progress.session_made(session)
        session.input.audio, session.output.audio = self._input, self._output
        session.output.transcription = self._texts
        session.on("user_state_changed", self._speech.state_changed)
        session.on("agent_state_changed", self._agent_state_changed)
        session.on("user_input_transcribed", self._speech.transcribed)
        session.on("conversation_item_added", self._item_added)
        session.on("function_tools_executed", self._tools_executed)
        session.on("tool_execution_updated", self._tool_updated)
        session.on("speech_created", self._speeches.created)
        session.on("error", self._run.erred)
        await session.start(agent, record=False)
        session.on("close", self._run.ended)
        self._progress.session_started()
        self._run.started()
        self._resumption.begin(session)
        self._turn_over()
        self._resumption.begin_late(session)
        self._typed.give(session)

    def _type(self, typed: str | UserText) -> None:
        self._typed.add(typed)
        self._run.begin()
        if self._run.session is not None:
            self._typed.give(self._run.session)

    # What LiveKit reports.

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if item.type != "message":
            return
        if item.role != "user":
            self._progress.save()
            return
        text = item.text_content or ""
        through = self._speech.committed(text)
        private = self._progress.begin_turn(text, through)
        number = self._typed.became_turn(text)
        self.emit(FinalTranscript(text, through, private_state=private, through_message=number))
        self._typed.acknowledge()

    def _answered(self, text: str) -> None:
        """The model gave the whole text of an answer, or of one between tools' calls."""
        if not self._speeches.take_own(text):
            loop = asyncio.get_running_loop()
            loop.call_later(_ANSWER_WAIT_S, self._progress.answer_made, self._progress.turn, text)

    def _tool_updated(self, event: ToolExecutionUpdatedEvent) -> None:
        if event.update.type == "tool_call_started":
            self._progress.tool_started()

    def _tools_executed(self, _event: FunctionToolsExecutedEvent) -> None:
        """The results enter the history after this event."""
        asyncio.get_running_loop().call_soon(self._progress.tools_returned)

    def _agent_state_changed(self, _event: AgentStateChangedEvent) -> None:
        self._changes.notify()

    def _speech_done(self) -> None:
        self._turn_over()
        self._changes.notify()

    def _turn_over(self) -> None:
        """Nothing is being said or prepared: what is pending was answered."""
        if self._progress.is_pending and not (self._speeches or self._resumption.is_due):
            self._progress.answered()


async def _nothing() -> None:
    """Stand in for `on_enter` where an earlier worker had greeted."""

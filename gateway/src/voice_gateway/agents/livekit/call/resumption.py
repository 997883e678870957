"""What an earlier worker, or a lost connection, left to say: known before LiveKit's session, done once it runs."""

from __future__ import annotations

from typing import Any

from livekit.agents import AgentSession, ChatContext

from voice_gateway.agent.base import SessionView
from voice_gateway.agents.livekit.audio_io.speech_output import SpeechOutput
from voice_gateway.agents.livekit.call.history import Continuation, continue_from, from_saved
from voice_gateway.agents.livekit.call.progress import LiveKitProgress
from voice_gateway.agents.livekit.call.speeches import Speeches


class Resumption:
    """Says again what was not played, and has the model answer what is pending; else may ask for what was lost."""

    def __init__(self, progress: LiveKitProgress, speeches: Speeches, output: SpeechOutput, question: str) -> None:
        self.is_due = False
        """Whether what an earlier worker left to do was not begun yet."""
        self._progress = progress
        self._speeches = speeches
        self._output = output
        self._question = question
        self._again: str | None = None
        self._asks = False
        self._continuation = Continuation()

    def context(self, view: SessionView | None) -> tuple[ChatContext, bool]:
        """Return the chat context to begin with, and whether the call is new."""
        lines = () if view is None else view.transcript()
        is_new = self._progress.turn == 0 and not any(line.role == "agent" for line in lines)
        answer = self._progress.answer
        context = from_saved(answer.chat)
        self._continuation = continue_from(
            context, lines, self._again or "", answer.text, is_pending=self._progress.is_pending
        )
        self.is_due = not is_new
        return context, is_new

    def begin(self, session: AgentSession[Any]) -> None:
        """Do what is left to do, in the session that has started."""
        todo = self._continuation
        if todo.again:
            self._speeches.say_exactly(session, todo.again, keeps=not todo.answers)
        if todo.rest:
            self._speeches.say(session, todo.rest)
        if todo.answers:
            self._output.said = todo.said
            session.generate_reply()
        self.is_due = False

    def begin_late(self, session: AgentSession[Any]) -> None:
        """Do what the session asked for while it started."""
        if self._again and self._again != self._continuation.again:
            self._speeches.say_exactly(session, self._again, keeps=True)
        if self._asks:
            self._ask(session)

    def say_again(self, text: str, session: AgentSession[Any] | None) -> None:
        """Say this, which is not kept, as soon as a session runs."""
        if session is None:
            self._again = text
        else:
            self._speeches.say_exactly(session, text, keeps=True)

    def ask(self, session: AgentSession[Any] | None) -> None:
        """Ask for what was lost, as soon as a session runs, unless an answer is due then anyway."""
        self._asks = not self._progress.is_pending
        if session is not None and self._asks:
            self._ask(session)

    def _ask(self, session: AgentSession[Any]) -> None:
        self._asks = False
        if self._question:
            self._speeches.say(session, self._question)

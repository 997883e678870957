"""What the vendor is asked for, one thing after the other, and what it answers."""

from __future__ import annotations

from voice_gateway.agent.base import Emit, StopReply
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.bridges.bridge.call.hearing.caller_speech import CallerSpeech
from voice_gateway.agents.bridges.bridge.call.session.current_session import CurrentSession
from voice_gateway.agents.bridges.bridge.call.speaking.reply import ReplyInProgress
from voice_gateway.agents.bridges.bridge.call.speaking.wanted import Wanted, WantedQueue
from voice_gateway.agents.bridges.bridge.call.tools import BridgeTools
from voice_gateway.agents.bridges.bridge.call.turns import BridgeTurns
from voice_gateway.agents.bridges.bridge.vendor import Answered, Answering, ItemAudio, ItemEnded, ItemText, Message


class Answers:
    """Asks for what is wanted once the vendor and the caller are quiet; an answer that is whole ends its turn."""

    def __init__(
        self,
        emit: Emit,
        changes: Changes,
        current: CurrentSession,
        speech: CallerSpeech,
        turns: BridgeTurns,
        tools: BridgeTools,
        reply: ReplyInProgress,
    ) -> None:
        self._emit = emit
        self._changes = changes
        self._current = current
        self._speech = speech
        self._turns = turns
        self._tools = tools
        self._reply = reply
        self._wanted = WantedQueue()
        self._is_answering = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being said, asked for or awaited, on either side."""
        is_making = self._is_answering or self._reply.is_open or self._tools or self._wanted
        return self._current.is_ready and not is_making and self._speech.is_quiet

    @property
    def typed_count(self) -> int:
        """How many typed turns and keys wait for the vendor."""
        return self._wanted.read_count

    def want(self, wanted: Wanted) -> None:
        """Ask for this after all that is wanted already."""
        self._wanted.add(wanted)
        self.advance()

    def say_again(self, text: str) -> None:
        """Say it from what is kept of it, or let the vendor say the text once more."""
        if self._reply.again(text):
            return
        if self._reply.is_open:
            self.cut()
            self._current.send(self._current.session.cancel())
        self._wanted.add_first(Wanted(text, is_in_history=True))
        self.advance()

    def follow(self, event: Answering | ItemText | ItemAudio | ItemEnded | Answered) -> None:
        """Take what the vendor says."""
        match event:
            case Answering():
                self._is_answering = True
            case ItemText(item_id, text):
                if not self._reply.is_cut(item_id) and self._wanted.saying is None:
                    self._reply.text(item_id, text)
            case ItemAudio(item_id, audio, is_verbatim):
                if self._reply.is_cut(item_id) or (is_verbatim and self._wanted.saying is None):
                    return  # the caller spoke
                self._reply.audio(item_id, audio, self._wanted.saying if is_verbatim else None)
            case ItemEnded(item_id):
                if self._reply.item_ended(item_id):
                    self._wanted.saying = None
            case Answered(is_verbatim, is_cut):
                self._answered(is_verbatim, is_cut)

    def caller_started(self) -> None:
        """The caller speaks: nothing more is said, but what the caller typed is answered."""
        self._wanted.caller_started()
        self._reply.reword()
        self.cut()

    def cut(self) -> None:
        """Nothing more is said of the item in progress."""
        self._wanted.saying = None
        self._reply.cut()

    def stop(self) -> None:
        """Stop what is being said because of us, and not of the caller's voice."""
        is_made = self._reply.is_open or self._is_answering
        self._reply.reword()
        self._emit(StopReply())
        self.cut()
        if is_made and self._current.is_ready:
            self._current.send(self._current.session.cancel())

    def session_opened(self) -> None:
        """The new session is given the history, and then asked for what it cannot know from there."""
        self._reply.session_opened()
        self._wanted.session_opened()

    def session_lost(self) -> None:
        """Begin again what was not finished, in the session that follows."""
        self._is_answering = False
        if self._wanted.saying is None and self._reply.is_open:
            self.stop()
        self._reply.session_lost()
        self._turns.session_lost()
        self._wanted.session_lost(is_turn_pending=self._turns.is_pending)
        self._changes.notify()

    def advance(self) -> None:
        """Let the vendor do what is wanted next, once it and the caller are quiet."""
        is_free = not (self._is_answering or self._speech.is_turn_open or self._tools)
        if not (self._current.is_ready and is_free and self._wanted):
            return
        wanted, session = self._wanted.next(), self._current.session
        if wanted.text is None:
            messages: list[Message] | None = session.answer()
        elif wanted.is_read:
            messages = session.press(wanted.text) if wanted.is_digit else session.read(wanted.text)
        else:
            messages = session.say(wanted.text, is_in_history=wanted.is_in_history)
            self._wanted.saying = None if messages is None else wanted
        if messages:
            self._is_answering = True
            self._current.send(messages)
        else:
            self.advance()
        self._changes.notify()

    def _answered(self, is_verbatim: bool, is_cut: bool) -> None:
        self._is_answering = False
        if not is_cut:
            self._current.malformed.answered()
        self._reply.end()
        if is_verbatim:
            self._wanted.saying = None
        elif not is_cut and not self._tools and not self._wanted.has_unanswered:
            self._turns.answered()
        elif is_cut and self._speech.is_speaking:
            self._turns.dropped()
        self._changes.notify()

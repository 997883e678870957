"""What of a call the end of its host must not take with it, and how the next host goes on. Sans-IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from voice_gateway.agent.base import (
    AgentEvent,
    CallClientTool,
    CancelClientTool,
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    ReplyText,
    SendAppMessage,
    SessionView,
    StateChanged,
    StopReply,
    UserStartedSpeaking,
)
from voice_gateway.hosts.messages import (
    AskedMessage,
    AskFinish,
    AskGreet,
    AskSayAgain,
    HostLine,
    Open,
)

MAX_KEPT_BYTES: Final = 8 << 20
"""Frames that no transcript covers; four minutes of PCM16 at 16 kHz."""
_MESSAGE_BYTES: Final = 512
_MOST_REPLIES: Final = 64


@dataclass(slots=True)
class _Said:
    """A reply that the session has, and has not reported as played."""

    text: str
    made_bytes: int = 0
    is_ended: bool = False
    is_known: bool = True
    """Whether the present host knows it: it said it, or was asked to say it again."""


@dataclass(slots=True)
class _Repeat:
    """What the present host was asked to say again, of which the session has `skip_bytes`.

    The session does not learn of it: it gets the rest of the reply that was being made.
    """

    text: str
    skip_bytes: int
    has_begun: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    """An input that may have to be repeated: a frame by its sequence, or a message by its `id`."""

    sequence: int | None
    asked: AskedMessage | None
    audio: bytes = b""

    @property
    def size(self) -> int:
        """What it counts of `MAX_KEPT_BYTES`: of messages the session bounds the bytes, not how many keys come."""
        return len(self.audio) if self.asked is None else _MESSAGE_BYTES


class Continuity:
    """Follows one call between its session and its present host, across hosts.

    `frame` and `asked` keep what goes to the host until an event covers it. `follow` turns a host's event into what the
    session gets. `opening` and `replay` are for the next host, from where the session stands.
    """

    def __init__(self, session: SessionView, state: Mapping[str, Any] | None) -> None:
        self._session = session
        self._state = state
        self._private_state = session.private_state
        self._turn = session.turn
        self._through_sequence: int | None = None
        self._through_message = -1
        self._handled = 0
        self._next_id = 1
        self._kept: deque[_Kept] = deque()
        self._kept_bytes = 0
        self._replies: deque[_Said] = deque()
        self._repeat: _Repeat | None = None
        self._repeated = 0
        """How many of the oldest replies the present host takes for one."""
        self._played: list[PlaybackFinished] = []
        self._wanted: str | None = None
        self._is_greeted = False
        self._is_finishing = False
        self._is_user_speaking = False

    @property
    def turn(self) -> int:
        """How many final transcripts there were."""
        return self._turn

    @property
    def is_full(self) -> bool:
        """Whether more is kept than should be: the agent does not say which frames it is done with."""
        return self._kept_bytes > MAX_KEPT_BYTES

    @property
    def is_quiet(self) -> bool:
        """Whether neither side speaks and no answer is due: a moment to go on at another host."""
        lines = self._session.transcript()
        is_answered = not lines or lines[-1].role == "agent"
        is_asked = self._is_finishing or self._wanted is not None
        return is_answered and not (self._replies or self._is_user_speaking or is_asked)

    def new_id(self) -> int:
        """Number the next message that the host answers with `handled`."""
        self._next_id += 1
        return self._next_id - 1

    def frame(self, sequence: int, audio: bytes) -> None:
        """Keep a frame until an event covers it."""
        self._kept.append(_Kept(sequence, None, audio))
        self._kept_bytes += self._kept[-1].size

    def asked(self, message: AskedMessage) -> None:
        """Keep a message until it had its effect."""
        if isinstance(message, AskGreet):
            self._is_greeted = True
        elif isinstance(message, AskFinish):
            self._is_finishing = True
        elif isinstance(message, AskSayAgain):
            self._wanted = message.text
            self._replies.clear()  # lost with the client's connection
            self._repeat, self._repeated, self._played = None, 0, []
        else:
            self._kept.append(_Kept(None, message))
            self._kept_bytes += self._kept[-1].size

    def handled(self, message_id: int) -> None:
        """The host answered."""
        self._handled = max(self._handled, message_id)
        self._forget()

    def follow(self, event: AgentEvent) -> Sequence[AgentEvent]:
        """Return what the session is to get for an event of the host."""
        match event:
            case FinalTranscript(_, through_sequence, state, private_state):
                self._turn += 1
                self._is_user_speaking = False
                self._reach(through_sequence)
                self._changed(state, private_state, event.through_message)
            case NoSpeechUpTo(through_sequence):
                self._is_user_speaking = False
                self._reach(through_sequence)
            case StateChanged(state, private_state):
                self._changed(state, private_state, event.through_message)
            case SendAppMessage() | CallClientTool() | CancelClientTool():
                self._changed(None, event.private_state, None)
            case UserStartedSpeaking():
                self._is_user_speaking = True
                self._cut_off()
            case StopReply():
                self._cut_off()
            case Finished():
                self._is_finishing = False
            case Reply() | ReplyText() | ReplyAudio() | ReplyEnded():
                return self._say(event)
        return (event,)

    def played(self, played_ms: int) -> int | None:
        """Return how much of its oldest reply the present host is to know as played; `None` for a reply before it."""
        if not self._replies or not self._replies[0].is_known:
            return None
        return sum(each.played_ms for each in self._played) + played_ms

    def playback_finished(self, playback: PlaybackFinished) -> PlaybackFinished | None:
        """Return what the present host is to know of a playback; `None` for replies of hosts before it.

        Replies that it repeats as one are reported as one.
        """
        while self._replies and not self._replies[0].text.startswith(playback.text):
            self._pop_reply()  # lost with the client's connection
        if not self._replies or not self._replies[0].is_known:
            self._pop_reply()
            return None
        is_repeated = self._repeated > 0
        self._pop_reply()
        if not is_repeated:
            return playback
        self._played.append(playback)
        if self._repeated:
            return None
        played, self._played = self._played, []
        text = " ".join(each.text for each in played if each.text)
        is_interrupted = any(each.is_interrupted for each in played)
        return PlaybackFinished(text, sum(each.played_ms for each in played), is_interrupted)

    def opening(self, epoch: int) -> Open:
        """Return what the next host goes on from."""
        session = self._session
        return Open(
            session=session.session_id,
            epoch=epoch,
            turn=self._turn,
            transcript=tuple(HostLine(line.turn, line.role, line.text) for line in session.transcript()),
            state=self._state,
            private_state=self._private_state,
            through_sequence=self._through_sequence,
            is_attached=session.is_attached(),
        )

    def replay(self) -> list[AskedMessage | tuple[int, bytes]]:
        """Return what the next host gets after `opening`: what is to be said, and frames and messages not covered."""
        messages: list[AskedMessage | tuple[int, bytes]] = []
        self._repeat, self._played, self._repeated = None, [], 0
        lines = self._session.transcript()
        if self._wanted is not None:
            messages.append(AskSayAgain(id=self.new_id(), text=self._wanted))
        elif self._replies:
            text = " ".join(reply.text for reply in self._replies)
            made_bytes = sum(reply.made_bytes for reply in self._replies)
            self._repeat, self._repeated = _Repeat(text, made_bytes), len(self._replies)
            for reply in self._replies:
                reply.is_known = True
            messages.append(AskSayAgain(id=self.new_id(), text=text))
        elif self._is_greeted and not (lines and lines[-1].role == "agent"):
            messages.append(AskGreet(id=self.new_id()))
        self._forget()
        for kept in self._kept:
            if kept.asked is not None and not self._is_done(kept):
                messages.append(kept.asked)
            elif kept.sequence is not None and not self._is_done(kept):
                messages.append((kept.sequence, kept.audio))
        if self._is_finishing:
            messages.append(AskFinish(id=self.new_id()))
        return messages

    def give_up_repeating(self) -> Sequence[AgentEvent]:
        """The host does not say again what it was asked: what was made of the reply is all."""
        if self._repeat is None or self._repeat.has_begun:
            return ()
        self._repeat, self._repeated, self._played = None, 0, []
        cut = [reply for reply in self._replies if not reply.is_ended]
        for reply in self._replies:
            reply.is_known, reply.is_ended = False, True
        return (ReplyEnded(),) if cut else ()

    def _say(self, event: Reply | ReplyText | ReplyAudio | ReplyEnded) -> Sequence[AgentEvent]:
        repeat = self._repeat
        match event:
            case Reply(text):
                if repeat is not None and not repeat.has_begun and text == repeat.text:
                    repeat.has_begun = True
                    return ()
                before = self.give_up_repeating()
                self._repeat = None
                if text == self._wanted:
                    self._wanted = None
                if self._replies:
                    self._replies[-1].is_ended = True
                self._replies.append(_Said(text))
                if len(self._replies) > _MOST_REPLIES:
                    self._pop_reply()
                return (*before, event)
            case ReplyText(text) if self._replies and not self._replies[-1].is_ended:
                return self._reword(text)
            case ReplyAudio(pcm) if self._replies and not self._replies[-1].is_ended:
                if repeat is not None and repeat.has_begun:
                    skipped = min(repeat.skip_bytes, len(pcm))
                    repeat.skip_bytes -= skipped
                    pcm = pcm[skipped:]
                self._replies[-1].made_bytes += len(pcm)
                return (ReplyAudio(pcm),) if pcm else ()
            case ReplyEnded():
                if repeat is not None and repeat.has_begun:
                    self._repeat = None
                if self._replies and not self._replies[-1].is_ended:
                    self._replies[-1].is_ended = True
                    return (event,)
        return ()

    def _reword(self, text: str) -> Sequence[AgentEvent]:
        """Give the current reply its text; of what is said again, only what goes beyond it is new to the session."""
        repeat, reply = self._repeat, self._replies[-1]
        if repeat is not None:
            if not repeat.has_begun or not text.startswith(repeat.text):
                return ()
            text, repeat.text = reply.text + text[len(repeat.text) :], text
        reply.text = text
        return (ReplyText(text),)

    def _cut_off(self) -> None:
        """The session reports the playback of each; nothing more of them is made."""
        if self._replies:
            self._replies[-1].is_ended = True
        self._repeat = self._wanted = None

    def _pop_reply(self) -> None:
        if self._replies:
            self._replies.popleft()
            self._repeated = max(0, self._repeated - 1)

    def _changed(
        self, state: Mapping[str, Any] | None, private_state: Mapping[str, Any] | None, through_message: int | None
    ) -> None:
        if state is not None:
            self._state = state
        if private_state is not None:
            self._private_state = private_state
        if through_message is not None:
            self._through_message = max(self._through_message, through_message)
            self._forget()

    def _reach(self, through_sequence: int) -> None:
        if self._through_sequence is None or through_sequence > self._through_sequence:
            self._through_sequence = through_sequence
        self._forget()

    def _forget(self) -> None:
        while self._kept and self._is_done(self._kept[0]):
            self._kept_bytes -= self._kept.popleft().size

    def _is_done(self, kept: _Kept) -> bool:
        if kept.asked is None:
            through = self._through_sequence
            return through is not None and kept.sequence is not None and kept.sequence <= through
        number = getattr(kept.asked, "number", None)
        return kept.asked.id <= self._handled if number is None else number <= self._through_message

"""Who speaks: the caller's turns and the agent's answers, sans-IO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from voice_gateway.agent.base import (
    AgentEvent,
    PartialTranscript,
    Reply,
    ReplyAudio,
    ReplyEnded,
    SpeechStarted,
    SpeechStopped,
    Understood,
)
from voice_gateway.session.core.effects import Effect, EndSpeech, Interrupt, ResetSpeech, SayAgain, Send, Speak
from voice_gateway.session.core.record_tracker import Ledger
from voice_gateway.session.core.replies import Replies
from voice_gateway.session.stats.turn_latency import Figure, TurnLatencies
from voice_gateway.session.stats.uplink_statistics import UplinkStatistics
from voice_gateway.store.base import Line
from voicelink.wire import Flush, Resume, Speech, State, Transcript

NOTHING: Final[tuple[Effect, ...]] = ()
_MOST_UNSAVED_ANSWERS: Final = 65_536
"""How far the newest generation that a caller names may be ahead of the one that was saved."""
_MOST_SAID_AGAIN: Final = 64
_LONGEST_ANSWER_MS: Final = 86_400_000


class Turns:
    """Writes what is said into the ledger and follows how much of it is heard; returns what is to be done about it."""

    def __init__(
        self, ledger: Ledger, replies: Replies, uplink: UplinkStatistics, observe: Callable[[Figure, float], None]
    ) -> None:
        self.latencies = TurnLatencies(uplink.arrivals, observe)
        self._ledger = ledger
        self._replies = replies
        self._again: _Again | None = None
        self.is_callers = False
        """Whether the caller has begun to speak and was not yet understood."""

    @property
    def is_quiet(self) -> bool:
        """Whether nobody speaks."""
        return not (self.is_callers or self._replies.has_outstanding)

    def follow(
        self, event: AgentEvent, now: float, through_sequence: int | None, is_attached: bool
    ) -> Sequence[Effect]:
        """Take what the agent heard or says; `through_sequence` is the last frame that had its effect in it.

        While nobody `is_attached` to listen, answers are written down to be said again later.
        """
        match event:
            case SpeechStarted(_, onset):
                self.is_callers = True
                return self._interrupt(onset, now)
            case SpeechStopped(sequence):
                self.latencies.stopped(sequence, now)
            case PartialTranscript(text):
                return (Send(Transcript(turn=self._ledger.turn + 1, role="user", text=text, is_final=False)),)
            case Understood():
                return self._understood(event, through_sequence, now)
            case Reply(text):
                return self._reply(text, is_attached, now)
            case ReplyAudio(pcm):
                generation = self._replies.speaking
                spoken = self._replies.add(pcm, now)
                return self._speak(generation, spoken, now) if generation is not None and spoken else NOTHING
            case ReplyEnded():
                self.latencies.reply_ended(now)
                return self.end_reply()
        return NOTHING

    def end_reply(self) -> Sequence[Effect]:
        """The agent has made all of its answer."""
        generation = self._replies.end()
        return NOTHING if generation is None else (EndSpeech(generation),)

    def say_again(self, resume: Resume) -> Sequence[Effect]:
        """Have the agent say what the caller, who is back, has not heard of it; nothing where all was heard."""
        newest = self._replies.generation
        self._replies.generation = max(newest, min(resume.generation, newest + _MOST_UNSAVED_ANSWERS))
        lines = self._ledger.unsaid(resume.next_generation)[-_MOST_SAID_AGAIN:]
        if not lines:
            return NOTHING
        is_begun = lines[0].generation == resume.next_generation
        heard_ms = min(lines[0].heard_ms + (resume.position_ms if is_begun else 0), _LONGEST_ANSWER_MS)
        self._again = _Again(lines, " ".join(line.text for line in lines), heard_ms, is_begun or lines[0].heard_ms > 0)
        return (SayAgain(self._again.text),)

    def _speak(self, generation: int, pcm: bytes, now: float) -> Sequence[Effect]:
        latency = self.latencies.sounded(now)
        spoken = Speak(generation, pcm)
        return (spoken,) if latency is None else (spoken, Send(latency))

    def _interrupt(self, onset: int | None, now: float) -> Sequence[Effect]:
        interrupted = self._replies.interrupt(now)
        if interrupted is None:
            return NOTHING
        played_ms, cuts = interrupted
        self._ledger.interrupted(cuts)
        self.latencies.interrupted(self._ledger.turn, onset, now)
        resets = (ResetSpeech(cut.generation) for cut in cuts)
        return (*resets, Send(Flush(generation=cuts[-1].generation, sequence=onset)), Interrupt(played_ms))

    def _understood(self, event: Understood, through_sequence: int | None, now: float) -> Sequence[Effect]:
        ledger, self.is_callers = self._ledger, False
        ledger.understood(event.text, through_sequence, event.state)
        self.latencies.understood(ledger.turn, through_sequence, now)
        transcript = Send(Transcript(turn=ledger.turn, role="user", text=event.text, is_final=True))
        if event.state is None:
            return (transcript,)
        return (transcript, Send(State(revision=ledger.revision, state=dict(event.state))))

    def _reply(self, text: str, is_attached: bool, now: float) -> Sequence[Effect]:
        ended = self.end_reply()
        again, self._again = self._again, None
        turn, is_again = self._ledger.turn, False
        if again is not None and again.text == text:
            is_again = again.is_rest
            turn = again.lines[-1].turn
            generation = self._replies.begin(text, again.heard_ms)
            self._ledger.answered_again(again.lines, text, generation, again.heard_ms)
        else:
            generation = self._replies.begin(text)
            self._ledger.answered(generation, text)
        self.latencies.replied(turn, generation, now)
        if not is_attached:
            self._replies.abandon()
        transcript = Send(Transcript(turn=turn, role="agent", text=text, is_final=True))
        return (*ended, transcript, Send(Speech(generation=generation, turn=turn, is_again=is_again)))


def transcript(line: Line) -> Transcript:
    """Tell the caller a line of the transcript."""
    return Transcript(turn=line.turn, role="user" if line.role == "user" else "agent", text=line.text, is_final=True)


@dataclass(frozen=True, slots=True)
class _Again:
    """What the agent was asked to say again: `text` of `lines`, of which `heard_ms` were played."""

    lines: tuple[Line, ...]
    text: str
    heard_ms: int
    is_rest: bool
    """Whether the caller has heard its beginning, and may be playing on from there."""

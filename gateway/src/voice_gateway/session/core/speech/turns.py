"""The caller's turns and the agent's answers. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from voice_gateway.agent.base import (
    AgentEvent,
    FinalTranscript,
    PartialTranscript,
    PlaybackFinished,
    Reply,
    ReplyEnded,
    ReplyText,
    StateChanged,
    StopReply,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from voice_gateway.session.core.effects import (
    Effect,
    EndSpeech,
    Greet,
    Interrupt,
    ReportPlayback,
    ReportPlayed,
    ResetSpeech,
    SayAgain,
    Send,
    Speak,
)
from voice_gateway.session.core.record.record_tracker import RecordTracker
from voice_gateway.session.core.speech.utterances.utterances import Continuation, Utterances
from voice_gateway.session.stats.turn_latency import Figure, TurnLatencies
from voice_gateway.session.stats.uplink_statistics import UplinkStatistics
from voice_gateway.store.base import Line
from voicelink.wire import Flush, Played, Resume, Speech, State, Transcript

NOTHING: Final[tuple[Effect, ...]] = ()
_MOST_UNSAVED_ANSWERS: Final = 65_536
"""How far the newest utterance that a caller names may be ahead of the one that was saved."""
_MOST_SAID_AGAIN: Final = 64
_LONGEST_ANSWER_MS: Final = 86_400_000


class Turns:
    """Writes the conversation into the session record, follows how much of it was played, and returns effects."""

    def __init__(
        self,
        tracker: RecordTracker,
        utterances: Utterances,
        uplink: UplinkStatistics,
        observe: Callable[[Figure, float], None],
    ) -> None:
        self.latencies = TurnLatencies(uplink.arrivals, observe)
        self._tracker = tracker
        self._utterances = utterances
        self._again: _Again | None = None
        self.is_callers = False
        """Whether the caller has begun to speak, and no final transcript has come."""

    @property
    def is_quiet(self) -> bool:
        """Whether neither the caller nor the agent speaks."""
        return not (self.is_callers or self._utterances.has_outstanding)

    def follow(
        self, event: AgentEvent, now: float, through_sequence: int | None, is_attached: bool
    ) -> Sequence[Effect]:
        """Take an event of the agent but audio; `through_sequence` is the last frame that a final transcript includes.

        While no caller `is_attached`, answers are held until one is back, and go into the record.
        """
        match event:
            case UserStartedSpeaking(_, onset):
                self.is_callers = True
                return self._interrupt(onset, now)
            case UserStoppedSpeaking(sequence):
                self.latencies.stopped(sequence, now)
            case PartialTranscript(text):
                return (Send(Transcript(turn=self._tracker.turn + 1, role="user", text=text, is_final=False)),)
            case FinalTranscript():
                return self._understood(event, through_sequence, now)
            case StateChanged(state, private_state):
                self._tracker.state_changed(state, private_state)
                return self._state(state)
            case StopReply():
                return self._interrupt(None, now)
            case Reply(text):
                return self._reply(text, is_attached, now)
            case ReplyText(text):
                return self._reword(text)
            case ReplyEnded():
                self.latencies.reply_ended(now)
                return self.end_reply()
        return NOTHING

    def add_audio(self, pcm: bytes, now: float) -> Sequence[Effect]:
        """Take audio of the answer that the agent is making, the most frequent of its events."""
        utterance_id = self._utterances.speaking
        spoken = self._utterances.add(pcm, now)
        return self._speak(utterance_id, spoken, now) if utterance_id is not None and spoken else NOTHING

    def end_reply(self) -> Sequence[Effect]:
        """The agent has made all of its answer."""
        utterance_id = self._utterances.end()
        return NOTHING if utterance_id is None else (EndSpeech(utterance_id),)

    def played(self, message: Played, now: float) -> Sequence[Effect]:
        """Take the caller's report of its playback."""
        whole = self._utterances.played(message.utterance_id, message.position_ms, message.is_complete, now)
        if whole is not None:
            return (ReportPlayback(PlaybackFinished(whole.text, whole.played_ms)),)
        played_ms = self._utterances.oldest_played_ms(message.utterance_id)
        return NOTHING if played_ms is None else (ReportPlayed(played_ms),)

    def go_on(self, resume: Resume, now: float) -> Sequence[Effect]:
        """Go on with what the caller, who is back, has not played, and know what it has.

        Where this worker holds what was made of it, that is sent; what it does not hold the agent says again.
        """
        played = tuple(
            ReportPlayback(PlaybackFinished(each.text, each.played_ms))
            for each in self._utterances.held.recovered(resume.next_utterance_id)
        )
        newest = self._utterances.utterance_id
        self._utterances.utterance_id = max(newest, min(resume.utterance_id, newest + _MOST_UNSAVED_ANSWERS))
        lines = self._tracker.transcript.unsaid(resume.next_utterance_id)
        held_ids = self._utterances.held.ids
        if held_ids and all(line.utterance_id in held_ids for line in lines):
            continued = self._utterances.go_on(resume.next_utterance_id, resume.position_ms, now)
            return (*played, *self._continued(continued, now))
        self._utterances.let_go()
        return (*played, *self._say_again(lines[-_MOST_SAID_AGAIN:], resume))

    def greet_again(self) -> Sequence[Effect]:
        """The caller is back after a gap: what was being said is not said again."""
        self._utterances.let_go()
        return (Greet(is_after_gap=True),)

    def _continued(self, continued: Sequence[Continuation], now: float) -> Sequence[Effect]:
        effects: list[Effect] = []
        for position, each in enumerate(continued):
            known = self._tracker.transcript.renumbered(each.former_id, each.utterance_id, each.skipped_ms)
            turn = self._tracker.turn if known is None else known
            is_again = position == 0 and each.is_begun
            if each.text:
                effects.append(Send(_agent_line(turn, each.text, each.utterance_id, (each.former_id,))))
            effects.append(Send(Speech(utterance_id=each.utterance_id, turn=turn, is_again=is_again)))
            self.latencies.renumbered(each.former_id, each.utterance_id)
            if each.pcm:
                effects += self._speak(each.utterance_id, each.pcm, now)
            if each.is_ended:
                effects.append(EndSpeech(each.utterance_id))
        return effects

    def _say_again(self, lines: tuple[Line, ...], resume: Resume) -> Sequence[Effect]:
        if not lines:
            return NOTHING
        is_begun = lines[0].utterance_id == resume.next_utterance_id
        skipped_ms = min(lines[0].skipped_ms + (resume.position_ms if is_begun else 0), _LONGEST_ANSWER_MS)
        self._again = _Again(
            lines, " ".join(line.text for line in lines), skipped_ms, is_begun or lines[0].skipped_ms > 0
        )
        return (SayAgain(self._again.text),)

    def _reword(self, text: str) -> Sequence[Effect]:
        utterance_id = self._utterances.reword(text)
        turn = self._tracker.transcript.reworded(utterance_id, text)
        return NOTHING if turn is None else (Send(_agent_line(turn, text, utterance_id)),)

    def _speak(self, utterance_id: int, pcm: bytes, now: float) -> Sequence[Effect]:
        latency = self.latencies.first_audio(now)
        spoken = Speak(utterance_id, pcm)
        return (spoken,) if latency is None else (spoken, Send(latency))

    def _interrupt(self, onset: int | None, now: float) -> Sequence[Effect]:
        interrupted = self._utterances.interrupt(now)
        if interrupted is None:
            return NOTHING
        played_ms, cuts = interrupted
        self._tracker.transcript.interrupted(cuts)
        self.latencies.interrupted(self._tracker.turn, onset, now)
        resets = (ResetSpeech(cut.utterance_id) for cut in cuts if not cut.is_held)
        played = (ReportPlayback(PlaybackFinished(cut.said, cut.played_ms, is_interrupted=True)) for cut in cuts)
        newest = cuts[-1].utterance_id
        flush = Send(Flush(utterance_id=newest, sequence=onset))
        return (*resets, flush, Interrupt(played_ms, newest), *played)

    def _understood(self, event: FinalTranscript, through_sequence: int | None, now: float) -> Sequence[Effect]:
        tracker, self.is_callers = self._tracker, False
        tracker.understood(event.text, through_sequence, event.state, event.private_state)
        self.latencies.understood(tracker.turn, through_sequence, now)
        transcript = Send(Transcript(turn=tracker.turn, role="user", text=event.text, is_final=True))
        return (transcript, *self._state(event.state))

    def _state(self, state: Mapping[str, Any] | None) -> Sequence[Effect]:
        return NOTHING if state is None else (Send(State(revision=self._tracker.revision, state=dict(state))),)

    def _reply(self, text: str, is_attached: bool, now: float) -> Sequence[Effect]:
        ended = self.end_reply()
        again, self._again = self._again, None
        turn, is_again = self._tracker.turn, False
        replaced: tuple[int, ...] = ()
        if again is not None and again.text == text:
            is_again = again.is_rest
            turn = again.lines[-1].turn
            utterance_id = self._utterances.begin(text, again.skipped_ms)
            replaced = tuple(line.utterance_id for line in again.lines if line.utterance_id is not None)
            self._tracker.transcript.answered_again(again.lines, text, utterance_id, again.skipped_ms)
        else:
            utterance_id = self._utterances.begin(text)
            self._tracker.transcript.answered(turn, utterance_id, text)
        self.latencies.replied(turn, utterance_id, now)
        if not is_attached:
            self._utterances.hold()
        transcript = (Send(_agent_line(turn, text, utterance_id, replaced)),) if text else ()
        return (*ended, *transcript, Send(Speech(utterance_id=utterance_id, turn=turn, is_again=is_again)))


def transcript(line: Line) -> Transcript:
    """Tell the caller a line of the transcript."""
    if line.role == "user":
        return Transcript(turn=line.turn, role="user", text=line.text, is_final=True)
    return _agent_line(line.turn, line.text, line.utterance_id)


def _agent_line(turn: int, text: str, utterance_id: int | None, replaces: tuple[int, ...] = ()) -> Transcript:
    return Transcript(turn=turn, role="agent", text=text, is_final=True, utterance_id=utterance_id, replaces=replaces)


@dataclass(frozen=True, slots=True)
class _Again:
    """What the agent was asked to say again: `text` of `lines`, of which `skipped_ms` were played."""

    lines: tuple[Line, ...]
    text: str
    skipped_ms: int
    is_rest: bool
    """Whether the caller has played its beginning, and may be playing on from there."""

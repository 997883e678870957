"""Any interleaving of what callers, agents, stores and clocks do, against the promises of a session."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.voice_gateway.session.sessions import AUDIO
from voice_gateway.agent.base import (
    AgentFailed,
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    PartialTranscript,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserStartedSpeaking,
)
from voice_gateway.session.core.effects import (
    Close,
    Decode,
    Finish,
    Interrupt,
    ResetSpeech,
    Save,
    Send,
    Speak,
    StartConversation,
)
from voice_gateway.session.core.lifecycle.agreement import Agreement
from voice_gateway.session.core.lifecycle.state import SessionState
from voice_gateway.session.core.session import Session
from voice_gateway.session.core.session_limits import Identity, SessionLimits
from voice_gateway.store.base import SessionRecord
from voicelink.wire import AudioFrame, Bye, Codec, Heard, Malformed, Ping, Played, Speech

SEQUENCES = st.integers(0, 40)
AGENT_EVENTS = st.one_of(
    st.builds(UserStartedSpeaking, SEQUENCES),
    st.builds(PartialTranscript, st.text(max_size=5)),
    st.builds(FinalTranscript, st.text(max_size=20), SEQUENCES, st.none() | st.just({"items": []})),
    st.builds(NoSpeechUpTo, SEQUENCES),
    st.builds(Reply, st.text(max_size=20)),
    st.builds(ReplyAudio, st.binary(max_size=8).map(lambda half: half * 2)),
    st.just(ReplyEnded()),
    st.just(Finished()),
)


class SessionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = Session(Identity("s", "w", "a", AUDIO), SessionLimits(unacked_frames=30, early_frames=5), 0.0)
        self.next_to_send = 0
        self.decoded: list[int] = []
        self.acknowledged = -1
        self.saving: SessionRecord | None = None
        self.saved_through = -1
        self.has_conversation = False
        self.is_finish_sent = False
        self.is_closed = False
        self.utterances: list[int] = []
        self.reset: set[int] = set()

    def take(self, effects) -> None:
        for effect in effects:
            assert not self.is_closed, f"{effect} after the end"
            match effect:
                case StartConversation():
                    assert not self.has_conversation
                    self.has_conversation = True
                case Decode(frame):
                    assert self.has_conversation
                    assert not self.is_finish_sent
                    self.decoded.append(frame.sequence)
                case Finish():
                    assert self.has_conversation
                    assert not self.is_finish_sent
                    self.is_finish_sent = True
                case Interrupt(played_ms):
                    assert played_ms >= 0
                case Save(record):
                    assert self.saving is None, "two saves at once"
                    self.saving = record
                case Send(Heard(sequence=sequence)):
                    assert sequence > self.acknowledged
                    assert sequence <= self.saved_through, "acknowledged before it was saved"
                    assert sequence in self.decoded
                    self.acknowledged = sequence
                case Send(Speech(utterance_id=utterance_id)):
                    self.utterances.append(utterance_id)
                case ResetSpeech(utterance_id):
                    self.reset.add(utterance_id)
                case Speak(utterance_id):
                    assert utterance_id == self.utterances[-1]
                    assert utterance_id not in self.reset, "audio of an interrupted utterance_id"
                case Close():
                    self.is_closed = True

    @rule(codec=st.sampled_from([Codec.OPUS, Codec.PCMU]))
    @precondition(lambda self: not self.has_conversation)
    def start(self, codec):
        self.take(self.session.start(Agreement(codec), self.now))

    @rule(
        message=st.builds(Ping, id=SEQUENCES)
        | st.builds(Played, utterance_id=SEQUENCES, position_ms=SEQUENCES, is_complete=st.booleans())
    )
    @precondition(lambda self: self.has_conversation)
    def report(self, message):
        self.take(self.session.message_received(message, self.now))

    @rule(count=st.integers(1, 8))
    @precondition(lambda self: self.has_conversation)
    def speak(self, count):
        for _ in range(count):
            frame = AudioFrame(self.next_to_send, self.next_to_send * 960, Codec.PCMU, b"\xff")
            self.next_to_send += 1
            self.take(self.session.audio_received(frame, self.now))

    @rule(sequence=SEQUENCES)
    @precondition(lambda self: self.next_to_send > 0)
    def repeat(self, sequence):
        frame = AudioFrame(sequence % self.next_to_send, 0, Codec.PCMU, b"\xff")
        self.take(self.session.audio_received(frame, self.now))

    @rule(event=AGENT_EVENTS)
    def agent(self, event):
        self.take(self.session.agent_emitted(event, self.now))

    @rule()
    @precondition(lambda self: self.saving is not None)
    def saved(self):
        record, self.saving = self.saving, None
        if record.acked_sequence is not None:
            self.saved_through = max(self.saved_through, record.acked_sequence)
        self.take(self.session.saved(record.revision, self.now))

    @rule()
    @precondition(lambda self: self.saving is not None)
    def save_failed(self):
        record, self.saving = self.saving, None
        self.take(self.session.save_failed(record.revision, self.now))

    @rule(step=st.sampled_from([0.02, 0.5, 3.0]))
    def wait(self, step):
        self.now += step
        self.take(self.session.tick(self.now))

    @rule()
    @precondition(lambda self: self.session.deadline is not None)
    def wait_for_the_deadline(self):
        assert self.session.deadline is not None
        self.now = max(self.now, self.session.deadline)
        self.take(self.session.tick(self.now))
        deadline = self.session.deadline
        assert deadline is None or deadline > self.now, "the same deadline again"

    @rule(extra=st.integers(0, 3))
    @precondition(lambda self: self.has_conversation)
    def bye(self, extra):
        self.take(self.session.message_received(Bye(frames=self.next_to_send + extra), self.now))

    @rule(deadline_s=st.floats(0.0, 10.0))
    @precondition(lambda self: self.has_conversation)
    def drain(self, deadline_s):
        self.take(self.session.drain(deadline_s, self.now))

    @rule(
        what=st.sampled_from(["lost", "malformed", "failed", "gap", "early bye", "drain"]),
        is_wanted=st.integers(0, 9).map(lambda n: n == 0),
    )
    def end(self, what, is_wanted):
        if not is_wanted:
            return
        session = self.session
        match what:
            case "lost":
                self.take(session.lost("gone", self.now))
            case "malformed":
                self.take(session.malformed_received(Malformed("garbage")))
            case "failed":
                self.take(session.agent_emitted(AgentFailed("broken"), self.now))
            case "gap":
                self.take(session.audio_received(AudioFrame(9999, 0, Codec.OPUS, b""), self.now))
            case "early bye":
                self.take(session.message_received(Bye(frames=0), self.now))
            case "drain":
                self.take(session.drain(0.0, self.now))

    @invariant()
    def the_agent_hears_every_frame_once_and_in_order(self):
        assert self.decoded == list(range(len(self.decoded)))

    @invariant()
    def utterances_count_from_one(self):
        assert self.utterances == list(range(1, len(self.utterances) + 1))

    @invariant()
    def a_closed_session_says_so_once(self):
        assert self.is_closed == (self.session.state is SessionState.CLOSED)
        assert (self.session.deadline is None) == self.is_closed


SessionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestSession = SessionMachine.TestCase

"""The agents named "echo" and "echo-pcmu": say every utterance back. No models, for developers and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from voice_gateway.agent.base import (
    AgentEvent,
    Conversation,
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserAudio,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from voice_gateway.agent.turn import (
    NothingPending,
    TurnContinued,
    TurnEnded,
    TurnEvent,
    TurnStarted,
    TurnTaker,
    TurnTiming,
)
from voicelink.audio.g711 import pcmu_decode
from voicelink.audio.vad import EnergyVoiceActivity


class EchoAgent:
    """Repeats what it hears, at 16 kHz, once the caller pauses."""

    name = "echo"
    input_rate_hz = 16_000
    output_rate_hz = 16_000

    def __init__(self, timing: TurnTiming | None = None) -> None:
        self._timing = timing or TurnTiming(unfinished_patience_ms=650)

    async def open(self) -> None:
        """Nothing to load."""

    def converse(self, emit: Callable[[AgentEvent], None], state: Mapping[str, Any] | None) -> Conversation:
        """Begin or go on; the state counts the utterances."""
        voice = EnergyVoiceActivity(self.input_rate_hz).probability
        return EchoConversation(emit, _utterances(state), TurnTaker(self.input_rate_hz, self._timing), voice)

    async def close(self) -> None:
        """Nothing to release."""


class PcmuEchoAgent(EchoAgent):
    """Repeats what a telephone says in the very bytes (`voice_gateway.agent.base.SpeaksPcmu`)."""

    name = "echo-pcmu"
    input_rate_hz = 8_000
    output_rate_hz = 8_000
    speaks_pcmu: Literal[True] = True

    def converse(self, emit: Callable[[AgentEvent], None], state: Mapping[str, Any] | None) -> Conversation:
        """Begin or go on, as the echo in PCM16."""
        activity = EnergyVoiceActivity(self.input_rate_hz)
        taker = TurnTaker(self.input_rate_hz, self._timing, sample_bytes=1)
        return EchoConversation(emit, _utterances(state), taker, lambda data: activity.probability(pcmu_decode(data)))


class EchoConversation:
    """One caller's echo."""

    def __init__(
        self,
        emit: Callable[[AgentEvent], None],
        utterances: int,
        taker: TurnTaker,
        voice_probability: Callable[[bytes], float],
    ) -> None:
        self._emit: Callable[[AgentEvent], None] | None = emit
        self._utterances = utterances
        self._taker = taker
        self._voice_probability = voice_probability
        self._pcm = bytearray()

    def greet(self) -> None:
        """Stay silent: an echo does not begin."""

    def hear(self, audio: UserAudio) -> None:
        """Take the next frame, and answer if it ends an utterance."""
        for event in self._taker.hear(audio, self._voice_probability(audio.pcm)):
            self._follow(event)

    def interrupted(self, played_ms: int) -> None:
        """Nothing to stop: a reply is made at once."""

    def say_again(self, text: str) -> None:
        """Repeat the last utterance; one that was heard by another worker is gone."""
        if self._pcm:
            self._reply(text)

    def finish(self) -> None:
        """Answer what is pending."""
        for event in self._taker.finish():
            self._follow(event)
        self._tell(Finished())

    def close(self) -> None:
        """Fall silent."""
        self._emit = None

    def _follow(self, event: TurnEvent) -> None:
        match event:
            case TurnStarted(sequence, pcm, onset):
                self._pcm[:] = pcm
                self._tell(UserStartedSpeaking(sequence, onset))
            case TurnContinued(pcm):
                self._pcm += pcm
            case TurnEnded(through_sequence, voice_sequence):
                self._tell(UserStoppedSpeaking(voice_sequence))
                self._utterances += 1
                text = f"echo {self._utterances}"
                self._tell(FinalTranscript(text, through_sequence, {"kind": "echo", "utterances": self._utterances}))
                self._reply(text)
            case NothingPending(through_sequence):
                self._tell(NoSpeechUpTo(through_sequence))

    def _reply(self, text: str) -> None:
        self._tell(Reply(text))
        self._tell(ReplyAudio(bytes(self._pcm)))
        self._tell(ReplyEnded())

    def _tell(self, event: AgentEvent) -> None:
        if self._emit is not None:
            self._emit(event)


def _utterances(state: Mapping[str, Any] | None) -> int:
    return int(state.get("utterances", 0)) if state else 0

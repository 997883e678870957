"""The agents named "echo" and "echo-pcmu": say every utterance back. No models, for developers and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from voice_gateway.agent.base import (
    Agent,
    AudioFormat,
    Conversation,
    Emit,
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    PlaybackFinished,
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
from voicelink.audio.codecs.g711 import pcmu_decode
from voicelink.audio.vad import EnergyVoiceActivity


class EchoAgent(Agent):
    """Repeats the caller's speech at 16 kHz, once the caller pauses."""

    name = "echo"
    input_rate_hz = 16_000
    output_rate_hz = 16_000

    def __init__(self, timing: TurnTiming | None = None) -> None:
        self._timing = timing or TurnTiming(unfinished_patience_ms=650)

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        """Begin or go on; the state counts the utterances."""
        voice = EnergyVoiceActivity(self.input_rate_hz).probability
        return EchoConversation(emit, _utterances(state), TurnTaker(self.input_rate_hz, self._timing), voice)


class PcmuEchoAgent(EchoAgent):
    """Repeats what a telephone says, byte by byte, without conversion."""

    name = "echo-pcmu"
    input_rate_hz = 8_000
    output_rate_hz = 8_000
    audio_format = AudioFormat.PCMU

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        """Begin or go on, as the echo in PCM16."""
        activity = EnergyVoiceActivity(self.input_rate_hz)
        taker = TurnTaker(self.input_rate_hz, self._timing, sample_bytes=1)
        return EchoConversation(emit, _utterances(state), taker, lambda data: activity.probability(pcmu_decode(data)))


class EchoConversation(Conversation):
    def __init__(
        self,
        emit: Emit,
        utterances: int,
        taker: TurnTaker,
        voice_probability: Callable[[bytes], float],
    ) -> None:
        self._emit: Emit | None = emit
        self._utterances = utterances
        self._taker = taker
        self._voice_probability = voice_probability
        self._pcm = bytearray()
        self._said = b""
        """The utterance that is being said back, until it was played."""

    def hear(self, audio: UserAudio) -> None:
        """Take the next frame, and answer if it ends an utterance."""
        for event in self._taker.hear(audio, self._voice_probability(audio.pcm)):
            self._follow(event)

    def say_again(self, text: str) -> None:
        """Repeat the last utterance; one whose audio came to another worker is gone."""
        if self._said:
            self._say(text)

    def playback_finished(self, playback: PlaybackFinished) -> None:
        """Forget what was played: nothing will ask for it again."""
        if not playback.is_interrupted:
            self._said = b""

    def finish(self) -> None:
        for event in self._taker.finish():
            self._follow(event)
        self.emit(Finished())

    def _follow(self, event: TurnEvent) -> None:
        match event:
            case TurnStarted(sequence, pcm, onset):
                self._pcm[:] = pcm
                self.emit(UserStartedSpeaking(sequence, onset))
            case TurnContinued():
                self._pcm += event.pcm
            case TurnEnded(through_sequence, voice_sequence):
                self.emit(UserStoppedSpeaking(voice_sequence))
                self._utterances += 1
                text = f"echo {self._utterances}"
                self.emit(FinalTranscript(text, through_sequence, {"kind": "echo", "utterances": self._utterances}))
                self._said = bytes(self._pcm)
                self._pcm = bytearray()
                self._say(text)
            case NothingPending(through_sequence):
                self.emit(NoSpeechUpTo(through_sequence))

    def _say(self, text: str) -> None:
        self.emit(Reply(text))
        self.emit(ReplyAudio(self._said))
        self.emit(ReplyEnded())


def _utterances(state: Mapping[str, Any] | None) -> int:
    return int(state.get("utterances", 0)) if state else 0

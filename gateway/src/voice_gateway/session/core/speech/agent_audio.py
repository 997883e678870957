"""The audio format of a worker's agent, and the conversion between it and the callers' codecs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from voice_gateway.agent.base import Agent, AudioFormat
from voice_gateway.errors import AgentError
from voicelink.audio.codec import FrameDecoder, FrameEncoder
from voicelink.audio.codecs.opus import ANSWERS, OpusProfile
from voicelink.audio.codecs.opus_slots import SLOT_BYTES, SLOTS_PER_S, OpusSlotDecoder, OpusSlotEncoder
from voicelink.audio.codecs.pcmu import PCMU_RATE_HZ, PcmuDecoder, PcmuEncoder
from voicelink.wire import AudioFrame, Codec, Malformed


class Decoder(Protocol):
    """Turns uplink frames into the agent's audio format."""

    def decode(self, frame: AudioFrame) -> bytes | Malformed:
        """Return the frame's audio behind the silence before it."""


class Encoder(Protocol):
    """Turns what the agent says into downlink payloads of 20 ms."""

    def push(self, audio: bytes) -> list[tuple[int, bytes]]:
        """Take any length of audio and return (timestamp, payload) of every complete frame."""

    def flush(self) -> list[tuple[int, bytes]]:
        """Return the rest."""


@dataclass(frozen=True, slots=True)
class AgentAudio:
    """PCM16 at the agent's rates, mu-law at 8 kHz both ways, or slots of Opus packets, 50 a second, both ways.

    Answers that are encoded here in Opus are of the profile `opus`.
    """

    input_rate_hz: int
    output_rate_hz: int
    form: AudioFormat = AudioFormat.PCM16
    opus: OpusProfile = ANSWERS

    @property
    def sample_bytes(self) -> int:
        """Bytes in a sample, or in a slot."""
        return _SAMPLE_BYTES[self.form]

    @property
    def output_bytes_per_ms(self) -> float:
        """Of what the agent says."""
        return self.output_rate_hz / 1000 * self.sample_bytes

    def output_bytes(self, duration_ms: int) -> int:
        """How many bytes the whole samples, or slots, of so much of what the agent says have."""
        return int(duration_ms * (self.output_rate_hz / 1000)) * self.sample_bytes

    def decoder(self) -> Decoder:
        """Make a new one, for one stream of a caller."""
        if self.form is AudioFormat.OPUS:
            return OpusSlotDecoder()
        return PcmuDecoder() if self.form is AudioFormat.PCMU else FrameDecoder(self.input_rate_hz)

    def encoder(self, codec: Codec) -> Encoder:
        """Make a new one, for one answer to a caller."""
        if self.form is AudioFormat.OPUS:
            return OpusSlotEncoder(codec)
        if self.form is AudioFormat.PCMU:
            return PcmuEncoder(codec, opus=self.opus)
        return FrameEncoder(codec, self.output_rate_hz, opus=self.opus)


_SAMPLE_BYTES = {AudioFormat.PCM16: 2, AudioFormat.PCMU: 1, AudioFormat.OPUS: SLOT_BYTES}


def audio_of(agent: Agent, opus_complexity: int = ANSWERS.complexity) -> AgentAudio:
    """Return the form that the agent declares; raises `AgentError` for mu-law at another rate than 8 kHz."""
    if agent.audio_format is AudioFormat.OPUS:
        return AgentAudio(SLOTS_PER_S, SLOTS_PER_S, AudioFormat.OPUS)
    audio = AgentAudio(
        agent.input_rate_hz, agent.output_rate_hz, agent.audio_format, replace(ANSWERS, complexity=opus_complexity)
    )
    rates = {audio.input_rate_hz, audio.output_rate_hz}
    if audio.form is AudioFormat.PCMU and rates != {PCMU_RATE_HZ}:
        raise AgentError(f"the agent {agent.name!r} speaks mu-law, which is at {PCMU_RATE_HZ} Hz, got {max(rates)}")
    return audio

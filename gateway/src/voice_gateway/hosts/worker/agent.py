"""The agent of a worker whose agent is in hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

from voice_gateway.agent.apology import Apology
from voice_gateway.agent.base import Agent, AudioFormat, Conversation, Emit
from voice_gateway.errors import AgentError
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.worker.conversation import HostedCallOptions, HostedConversation
from voice_gateway.hosts.worker.pool import HostPool
from voicelink.audio.codecs.g711 import pcmu_encode
from voicelink.audio.resample import Resampler
from voicelink.audio.wav import WavError, parse_wav


@dataclass(frozen=True, slots=True)
class HostedAgentOptions:
    """Where the hosts are, and what happens to a call without one; see `[agent.hosts]`."""

    places: Sequence[tuple[HostAddress, HostCredentials]]
    patience_s: float = 15.0
    move_after_s: float = 10.0
    start_timeout_s: float = 15.0
    apology: Path | None = None
    apology_text: str = ""


class HostedAgent(Agent):
    """Opens each conversation at one of the hosts; its name and audio are theirs, and known once it is open."""

    def __init__(self, options: HostedAgentOptions, name: str = "") -> None:
        self.name = name
        self._options = options
        self._pool: HostPool | None = None
        self._call_options: HostedCallOptions | None = None
        self._conversations: WeakSet[HostedConversation] = WeakSet()

    @property
    def pool(self) -> HostPool | None:
        """The hosts, once the agent is open."""
        return self._pool

    async def open(self) -> None:
        """Wait for the first host; raises `AgentError` where none comes in time."""
        options = self._options
        self._pool = HostPool(options.places, options.move_after_s)
        self._pool.start()
        hello = await self._pool.first_hello(options.start_timeout_s)
        self.name = hello.agent
        self.input_rate_hz, self.output_rate_hz = hello.input_rate_hz, hello.output_rate_hz
        self.audio_format = AudioFormat(hello.audio_format)
        sample_bytes = 1 if self.audio_format is AudioFormat.PCMU else 2
        self._call_options = HostedCallOptions(
            self.audio_format, self.output_rate_hz * sample_bytes, options.patience_s, self._apology()
        )

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        if self._pool is None or self._call_options is None:
            raise AgentError("the agent is not open")
        conversation = HostedConversation(self._pool, self._call_options, emit, state)
        self._conversations.add(conversation)
        return conversation

    async def close(self) -> None:
        for conversation in list(self._conversations):
            conversation.close()
        if self._pool is not None:
            await self._pool.stop()

    def _apology(self) -> Apology:
        options = self._options
        if options.apology is None:
            return Apology()
        audio = _audio(options.apology, self.output_rate_hz, self.audio_format)
        return Apology(options.apology_text or "...", audio)


def _audio(path: Path, rate_hz: int, form: AudioFormat) -> bytes:
    """Read a WAV file as what the agent says; raises `AgentError`."""
    try:
        sound = parse_wav(path.read_bytes())
    except (OSError, WavError) as error:
        raise AgentError(f"agent.hosts.apology cannot be used: {path}: {error}") from None
    if form is AudioFormat.OPUS:
        raise AgentError("agent.hosts.apology cannot be said: the agent hosts speak Opus packets")
    pcm = (sound.samples * 32_767).astype("<i2").tobytes()
    if sound.rate_hz != rate_hz:
        resampler = Resampler(sound.rate_hz, rate_hz)
        pcm = resampler.push(pcm + bytes(sound.rate_hz // 5))  # with what it holds back
    return pcmu_encode(pcm) if form is AudioFormat.PCMU else pcm

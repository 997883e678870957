"""Encodes what the agent says and sends it ahead of playback, as far as its `Pacer` allows.

In slices, which leave the event loop to the other sessions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from voice_gateway.recording.segments.recorder import CallRecorder
from voice_gateway.session.core.speech.agent_audio import AgentAudio, Encoder
from voice_gateway.session.core.speech.pacing import Lead, Pacer
from voice_gateway.session.core.speech.pending_audio import PendingAudio
from voice_gateway.session.core.speech.utterances.utterances import Utterances
from voice_gateway.session.stats.counters import SessionCounters
from voice_gateway.transport.base import Transport
from voicelink.wire import AudioFrame, Codec

_SLICE_S = 0.2
_STEP_S = 0.2
"""What is worth sending once the lead has been reached."""
_SHORTEST_WAIT_S = 0.02


class Speaker:
    """One connection's way from the agent's `audio` to downlink frames of `codec`, one utterance after the other."""

    def __init__(
        self,
        transport: Transport,
        codec: Codec,
        audio: AgentAudio,
        counters: SessionCounters,
        lead: Lead,
        utterances: Utterances,
        recorder: CallRecorder | None = None,
    ) -> None:
        self._transport = transport
        self._codec = codec
        self._audio = audio
        self._sample_bytes = audio.sample_bytes
        self._bytes_per_s = audio.output_rate_hz * self._sample_bytes
        self._counters = counters
        self._utterances = utterances
        self._recorder = recorder
        self._pacer = Pacer(lead, utterances)
        self._loop = asyncio.get_running_loop()
        self._queue: list[_Utterance] = []
        self._next_slice: asyncio.Handle | None = None

    @property
    def waiting_s(self) -> float:
        """How much audio waits to be sent."""
        return sum([len(utterance.audio) for utterance in self._queue]) / self._bytes_per_s

    def speak(self, utterance_id: int, audio: bytes) -> None:
        """Add audio to the utterance; a new one waits until those before it are encoded."""
        self._utterance(utterance_id).audio.append(audio)
        self._pump()

    def end(self, utterance_id: int) -> None:
        """No audio of this utterance follows."""
        self._utterance(utterance_id).is_ended = True
        self._pump()

    def on_played(self) -> None:
        """The caller has reported its playback: go on with what may be sent now."""
        self._pump()

    def reset(self, utterance_id: int) -> None:
        """Forget what of the utterance is not encoded, and abandon what is not delivered."""
        self._queue = [utterance for utterance in self._queue if utterance.utterance_id != utterance_id]
        self._transport.reset_audio(utterance_id)

    def close(self) -> None:
        self._queue.clear()
        if self._next_slice:
            self._next_slice.cancel()

    def _utterance(self, utterance_id: int) -> _Utterance:
        if not self._queue or self._queue[-1].utterance_id != utterance_id:
            self._queue.append(_Utterance(utterance_id, self._audio.encoder(self._codec)))
        return self._queue[-1]

    def _pump(self) -> None:
        if self._next_slice is None:
            self._encode_slice()

    def _encode_slice(self) -> None:
        self._next_slice = None
        if not self._queue:
            return
        utterance = self._queue[0]
        byte_count = self._bytes_due(len(utterance.audio))
        if byte_count is None:
            return
        piece = utterance.audio.take(byte_count)
        self._utterances.sent(utterance.utterance_id, byte_count, self._loop.time())
        self._send(utterance, utterance.encoder.push(piece))
        if utterance.is_ended and not utterance.audio:
            self._send(utterance, utterance.encoder.flush())
            self._transport.end_audio(utterance.utterance_id)
            self._queue.pop(0)
        if self._queue and (self._queue[0].audio or self._queue[0].is_ended):
            self._next_slice = self._loop.call_soon(self._encode_slice)

    def _bytes_due(self, byte_count: int) -> int | None:
        """How much of so much to send now; `None` if it must wait, for its time or for a report."""
        wanted_s = min(byte_count / self._bytes_per_s, _STEP_S)
        now = self._loop.time()
        allowed_s = min(self._pacer.sendable_s(now), _SLICE_S)
        if allowed_s >= wanted_s:
            return min(byte_count, int(allowed_s * self._audio.output_rate_hz) * self._sample_bytes)
        delay_s = self._pacer.delay_s(wanted_s, now)
        if delay_s is not None:
            self._next_slice = self._loop.call_later(max(delay_s, _SHORTEST_WAIT_S), self._encode_slice)
        return None

    def _send(self, utterance: _Utterance, packets: list[tuple[int, bytes]]) -> None:
        if not packets:
            return
        frames = [
            AudioFrame(sequence, timestamp, self._codec, payload)
            for sequence, (timestamp, payload) in enumerate(packets, utterance.sequence)
        ]
        utterance.sequence += len(frames)
        self._counters.frames_sent += len(frames)
        self._counters.bytes_sent += sum([len(payload) for _, payload in packets])
        self._transport.send_audio(utterance.utterance_id, frames)
        if self._recorder is not None:
            self._recorder.downlink(utterance.utterance_id, frames, self._loop.time())


@dataclass(slots=True)
class _Utterance:
    utterance_id: int
    encoder: Encoder
    audio: PendingAudio = field(default_factory=PendingAudio)
    sequence: int = 0
    is_ended: bool = False

"""Encodes what the agent says and sends it, in slices that leave the event loop to the other sessions."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from gateway.audio.codec import FrameEncoder
from gateway.session.counters import SessionCounters
from gateway.transport.base import Transport
from gateway.wire import AudioFrame, Codec

_SLICE_S = 0.2


class Speaker:
    """One session's way from PCM16 at `rate_hz` to downlink frames of `codec`, one generation after the other."""

    def __init__(self, transport: Transport, codec: Codec, rate_hz: int, counters: SessionCounters) -> None:
        self._transport = transport
        self._codec = codec
        self._rate_hz = rate_hz
        self._counters = counters
        self._slice_octets = int(rate_hz * _SLICE_S) * 2
        self._queue: deque[_Utterance] = deque()
        self._next_slice: asyncio.Handle | None = None

    def speak(self, generation: int, pcm: bytes) -> None:
        """Add audio to the generation; a new one waits until those before it are encoded."""
        self._utterance(generation).pcm += pcm
        self._pump()

    def end(self, generation: int) -> None:
        """No audio of this generation follows."""
        self._utterance(generation).is_ended = True
        self._pump()

    def reset(self, generation: int) -> None:
        """Forget what of the generation is not encoded, and abandon what is not delivered."""
        self._queue = deque(utterance for utterance in self._queue if utterance.generation != generation)
        self._transport.reset_audio(generation)

    def close(self) -> None:
        """Forget everything."""
        self._queue.clear()
        if self._next_slice:
            self._next_slice.cancel()

    def _utterance(self, generation: int) -> _Utterance:
        if not self._queue or self._queue[-1].generation != generation:
            encoder = FrameEncoder(self._codec, self._rate_hz, has_dtx=False)
            self._queue.append(_Utterance(generation, encoder))
        return self._queue[-1]

    def _pump(self) -> None:
        if self._next_slice is None:
            self._encode_slice()

    def _encode_slice(self) -> None:
        self._next_slice = None
        if not self._queue:
            return
        utterance = self._queue[0]
        piece = bytes(utterance.pcm[: self._slice_octets])
        del utterance.pcm[: self._slice_octets]
        self._send(utterance, utterance.encoder.push(piece))
        if utterance.is_ended and not utterance.pcm:
            self._send(utterance, utterance.encoder.flush())
            self._transport.end_audio(utterance.generation)
            self._queue.popleft()
        if self._queue and (self._queue[0].pcm or self._queue[0].is_ended):
            self._next_slice = asyncio.get_running_loop().call_soon(self._encode_slice)

    def _send(self, utterance: _Utterance, packets: list[tuple[int, bytes]]) -> None:
        for timestamp, payload in packets:
            frame = AudioFrame(utterance.sequence, timestamp, self._codec, payload)
            utterance.sequence += 1
            self._counters.frames_sent += 1
            self._counters.octets_sent += len(payload)
            self._transport.send_audio(utterance.generation, frame)


@dataclass(slots=True)
class _Utterance:
    generation: int
    encoder: FrameEncoder
    pcm: bytearray = field(default_factory=bytearray)
    sequence: int = 0
    is_ended: bool = False

"""From the wire's audio frames to PCM16 at the rate one wants, and back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from voicelink.audio.codecs import g711
from voicelink.audio.codecs.opus import (
    CALLERS_VOICE,
    MAX_DTX_BYTES,
    OpusDecoder,
    OpusEncoder,
    OpusProfile,
    require_rate,
)
from voicelink.audio.frames import FRAME_TICKS, MAX_FRAME_MS, frame_samples
from voicelink.audio.resample import Resampler
from voicelink.wire import CLOCK_HZ, AudioFrame, Codec, Malformed

CODEC_RATE_HZ: Final[Mapping[Codec, int | None]] = MappingProxyType(
    {
        Codec.OPUS: None,
        Codec.PCM16_16K: 16_000,
        Codec.PCM16_24K: 24_000,
        Codec.PCM16_48K: 48_000,
        Codec.PCMU: 8_000,
        Codec.PCMA: 8_000,
    }
)
"""The rate that belongs to the codec; `None` where it runs at any of the rates."""

_MAX_GAP_S: Final = 2
_MAX_SKIPPED_FRAMES: Final = 4


class FrameDecoder:
    """Turns a stream's frames into PCM16 at `rate_hz`; the codec may change from frame to frame.

    A gap in the timestamps, as DTX leaves, comes out as silence in front of the frame, at most 2 s of it, so that
    the samples keep counting media time.
    """

    def __init__(self, rate_hz: int) -> None:
        require_rate(rate_hz)
        self._rate_hz = rate_hz
        self._opus: OpusDecoder | None = None  # 40 KB, made for the first packet
        self._resampler: Resampler | None = None
        self._codec: Codec | None = None
        self._expected_timestamp: int | None = None

    def decode(self, frame: AudioFrame) -> bytes | Malformed:
        """Return the frame's samples behind the silence before it."""
        gap = self._gap_samples(frame.timestamp)
        pcm = self._payload(frame)
        if isinstance(pcm, Malformed):
            return pcm
        self._expected_timestamp = frame.timestamp + len(pcm) // 2 * CLOCK_HZ // self._rate_hz
        if not gap:
            return pcm
        return gap + pcm

    def pass_through(self, frame: AudioFrame) -> bytes | Malformed:
        """Take a frame of PCMU or PCMA that is wanted as it is; return the samples of the silence before it."""
        gap = self._gap_samples(frame.timestamp)
        fault = _fault(frame)
        if fault is not None:
            return fault
        self._codec, self._resampler = frame.codec, None
        self._expected_timestamp = frame.timestamp + len(frame.payload) * CLOCK_HZ // _native_rate_hz(frame.codec)
        return gap

    def _gap_samples(self, timestamp: int) -> bytes:
        if self._expected_timestamp is None or timestamp <= self._expected_timestamp:
            return b""
        samples = min((timestamp - self._expected_timestamp) * self._rate_hz // CLOCK_HZ, _MAX_GAP_S * self._rate_hz)
        if self._opus is None or self._codec is not Codec.OPUS:
            return bytes(samples * 2)
        return self._opus.conceal(samples)

    def _payload(self, frame: AudioFrame) -> bytes | Malformed:
        if frame.codec is Codec.OPUS:
            self._codec = frame.codec
            if self._opus is None:
                self._opus = OpusDecoder(self._rate_hz)
            return self._opus.decode(frame.payload)
        fault = _fault(frame)
        if fault is not None:
            return fault
        pcm = frame.payload
        if frame.codec is Codec.PCMU:
            pcm = g711.pcmu_decode(pcm)
        elif frame.codec is Codec.PCMA:
            pcm = g711.pcma_decode(pcm)
        if self._codec is not frame.codec or self._resampler is None:
            self._codec = frame.codec
            self._resampler = Resampler(_native_rate_hz(frame.codec), self._rate_hz)
        return self._resampler.push(pcm)


class FrameEncoder:
    """Cuts PCM16 at `input_rate_hz` into 20 ms payloads of `codec`.

    `timestamp` is that of the next payload. Where Opus finds silence, payloads are left out but for one in five:
    the listener on the other side can tell that time passed, and ends a turn, at most 100 ms late. Opus has an encoder
    from the first payload on, of the profile `opus`.
    """

    def __init__(
        self,
        codec: Codec,
        input_rate_hz: int,
        *,
        timestamp: int = 0,
        opus: OpusProfile = CALLERS_VOICE,
    ) -> None:
        native_rate_hz = CODEC_RATE_HZ[codec]
        self.timestamp = timestamp
        self._codec = codec
        self._rate_hz = input_rate_hz if native_rate_hz is None else native_rate_hz
        self._resampler = Resampler(input_rate_hz, self._rate_hz)
        self._profile = opus
        self._opus: OpusEncoder | None = None
        self._frame_bytes = 2 * frame_samples(self._rate_hz)
        self._pending = bytearray()
        self._skipped = 0

    def push(self, pcm: bytes) -> list[tuple[int, bytes]]:
        """Take any length of PCM16 and return (timestamp, payload) of every complete frame that is worth sending."""
        pending, frame_bytes = self._pending, self._frame_bytes
        pending += self._resampler.push(pcm)
        frames = []
        for end in range(frame_bytes, len(pending) + 1, frame_bytes):
            payload = self._encode(bytes(pending[end - frame_bytes : end]))
            if payload is not None:
                frames.append((self.timestamp, payload))
            self.timestamp += FRAME_TICKS
        del pending[: len(pending) // frame_bytes * frame_bytes]
        return frames

    def flush(self) -> list[tuple[int, bytes]]:
        """Return the rest, padded with silence to a whole frame."""
        if not self._pending:
            return []
        self._pending.extend(bytes(self._frame_bytes - len(self._pending)))
        payload = self._encode(bytes(self._pending))
        self._pending.clear()
        self.timestamp += FRAME_TICKS
        return [] if payload is None else [(self.timestamp - FRAME_TICKS, payload)]

    def _encode(self, pcm: bytes) -> bytes | None:
        if self._codec is Codec.OPUS:
            return self._opus_packet(pcm)
        if self._codec is Codec.PCMU:
            return g711.pcmu_encode(pcm)
        if self._codec is Codec.PCMA:
            return g711.pcma_encode(pcm)
        return pcm

    def _opus_packet(self, pcm: bytes) -> bytes | None:
        if self._opus is None:
            self._opus = OpusEncoder(self._rate_hz, self._profile)
        packet = self._opus.encode(pcm)
        if len(packet) > MAX_DTX_BYTES or self._skipped >= _MAX_SKIPPED_FRAMES:
            self._skipped = 0
            return packet
        self._skipped += 1
        return None


def _fault(frame: AudioFrame) -> Malformed | None:
    """What is wrong with a payload that is not Opus."""
    name, byte_count = frame.codec.name.lower(), len(frame.payload)
    if not byte_count:
        return Malformed(f"{name} payload: empty")
    sample_bytes = 1 if frame.codec in (Codec.PCMU, Codec.PCMA) else 2
    if byte_count % sample_bytes:
        return Malformed(f"{name} payload: {byte_count} bytes are no whole samples")
    milliseconds = byte_count // sample_bytes * 1000 / _native_rate_hz(frame.codec)
    if milliseconds > MAX_FRAME_MS:
        return Malformed(f"{name} payload: {int(milliseconds)} ms, at most {MAX_FRAME_MS}")
    return None


def _native_rate_hz(codec: Codec) -> int:
    rate_hz = CODEC_RATE_HZ[codec]
    if rate_hz is None:
        raise ValueError(f"{codec.name} has no rate of its own")
    return rate_hz

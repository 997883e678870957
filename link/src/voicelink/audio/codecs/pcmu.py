"""From the wire's audio frames to mu-law and back, for agents that speak it: PCMU passes through untouched."""

from __future__ import annotations

from typing import Final

from voicelink.audio.codec import FrameDecoder, FrameEncoder
from voicelink.audio.codecs.g711 import pcmu_decode, pcmu_encode
from voicelink.audio.codecs.opus import ANSWERS, OpusProfile
from voicelink.audio.frames import FRAME_TICKS, frame_samples
from voicelink.wire import AudioFrame, Codec, Malformed

PCMU_RATE_HZ: Final = 8_000
_FRAME_BYTES: Final = frame_samples(PCMU_RATE_HZ)


class PcmuDecoder:
    """Turns a stream's frames into mu-law, as `voicelink.audio.codec.FrameDecoder` turns them into PCM16."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder(PCMU_RATE_HZ)

    def decode(self, frame: AudioFrame) -> bytes | Malformed:
        """Return the frame's bytes behind the silence before it."""
        is_pcmu = frame.codec is Codec.PCMU
        pcm = self._decoder.pass_through(frame) if is_pcmu else self._decoder.decode(frame)
        if isinstance(pcm, Malformed):
            return pcm
        data = pcmu_encode(pcm) if pcm else b""
        return data + frame.payload if is_pcmu else data


class PcmuEncoder:
    """Cuts mu-law into 20 ms payloads of `codec`; the last of PCMU is as short as what is left."""

    def __init__(self, codec: Codec, *, opus: OpusProfile = ANSWERS) -> None:
        self._encoder: FrameEncoder | None = None
        if codec is not Codec.PCMU:
            self._encoder = FrameEncoder(codec, PCMU_RATE_HZ, opus=opus)
        self._timestamp = 0
        self._pending = b""

    def push(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take any length of mu-law and return (timestamp, payload) of every complete frame."""
        if self._encoder is not None:
            return self._encoder.push(pcmu_decode(data))
        data = self._pending + data
        end = len(data) // _FRAME_BYTES * _FRAME_BYTES
        self._pending = data[end:]
        return [self._dated(data[start : start + _FRAME_BYTES]) for start in range(0, end, _FRAME_BYTES)]

    def flush(self) -> list[tuple[int, bytes]]:
        """Return the rest: one payload at most."""
        if self._encoder is not None:
            return self._encoder.flush()
        rest, self._pending = self._pending, b""
        return [self._dated(rest)] if rest else []

    def _dated(self, payload: bytes) -> tuple[int, bytes]:
        timestamp = self._timestamp
        self._timestamp += FRAME_TICKS
        return timestamp, payload

"""What a listener gets in place of a frame that will never come."""

from __future__ import annotations

from typing import Final

from voicelink.audio.frames import FRAME_TICKS
from voicelink.wire import AudioFrame, Codec

_SILENCE: Final = {Codec.PCMU: b"\xff", Codec.PCMA: b"\xd5"}
_OPUS_ONE_FRAME: Final = 0xFC
_OPUS_20_MS: Final = b"\x08"


def stand_in(sequence: int, before: AudioFrame | None, after: AudioFrame | None) -> AudioFrame:
    """Return a frame as long as its neighbours: silence, or for Opus one that the decoder conceals.

    `before` is the one delivered last, `after` the next that is known; without any it takes 20 ms.
    """
    like = before or after
    if like is None:
        return AudioFrame(sequence, sequence * FRAME_TICKS, Codec.OPUS, _OPUS_20_MS)
    return AudioFrame(sequence, _timestamp(sequence, before, after), like.codec, _payload(like))


def _timestamp(sequence: int, before: AudioFrame | None, after: AudioFrame | None) -> int:
    """The usual 20 ms on, unless the frames on both sides are closer together."""
    if before is None:
        return max(0, after.timestamp - (after.sequence - sequence) * FRAME_TICKS) if after else 0
    step = FRAME_TICKS
    if after is not None:
        step = min(step, (after.timestamp - before.timestamp) // (after.sequence - before.sequence))
    return before.timestamp + max(step, 0) * (sequence - before.sequence)


def _payload(like: AudioFrame) -> bytes:
    if like.codec is Codec.OPUS:
        # a packet whose one frame is empty was lost, for the decoder (RFC 6716 section 3.1, RFC 7587 section 3.1.3)
        return bytes((like.payload[0] & _OPUS_ONE_FRAME,)) if like.payload else _OPUS_20_MS
    return _SILENCE.get(like.codec, b"\0") * len(like.payload)

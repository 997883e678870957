"""Where each frame of the caller lies on the media clock, whichever worker wrote it. Sans-IO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from voice_gateway.recording.segments.format import Uplink
from voicelink.audio.codec import CODEC_RATE_HZ
from voicelink.audio.codecs.opus_slots import packet_tenths_ms
from voicelink.wire import CLOCK_HZ, AudioFrame, Codec

_MOST_AHEAD_TICKS: Final = 130 * CLOCK_HZ
"""How far a timestamp may be ahead of the time that has passed: a worker takes 120 s of audio at once."""


@dataclass(frozen=True, slots=True)
class WrittenFrame:
    """A frame of a segment, and when it arrived in microseconds since 1970 by its worker's clock."""

    record: Uplink
    epoch: int
    wall_us: int


@dataclass(frozen=True, slots=True)
class PlacedFrame:
    """The frame lies from tick `start` to `end` of the media clock."""

    start: int
    end: int
    frame: AudioFrame


@dataclass(frozen=True, slots=True)
class MissingFrames:
    """Frames from `first` to `last` are in no segment; they were between the ticks `start` and `end`."""

    first: int
    last: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CallerTrack:
    """All of the caller's frames that there are, in order, and those that are missing."""

    frames: tuple[PlacedFrame, ...]
    missing: tuple[MissingFrames, ...]

    @property
    def end(self) -> int:
        return self.frames[-1].end if self.frames else 0


def frame_ticks(codec: Codec, payload: bytes) -> int:
    """Return how long a frame is; 0 for one that cannot be decoded."""
    rate_hz = CODEC_RATE_HZ[codec]
    if rate_hz is None:
        return packet_tenths_ms(payload) * CLOCK_HZ // 10_000
    sample_bytes = 1 if codec in (Codec.PCMU, Codec.PCMA) else 2
    return len(payload) // sample_bytes * (CLOCK_HZ // rate_hz)


def place_frames(written: Sequence[WrittenFrame], acked: int | None) -> CallerTrack:
    """Lay the frames out by their timestamps; of a frame that two workers wrote, take that of the later epoch.

    `acked` is the last frame that is known to have been acknowledged. A clock that begins anew, as that of a telephone
    call's second stream, goes on where the first one was, after the time that has passed.
    """
    chosen: dict[int, WrittenFrame] = {}
    for each in written:
        known = chosen.get(each.record.sequence)
        if known is None or known.epoch < each.epoch:
            chosen[each.record.sequence] = each
    placed: list[PlacedFrame] = []
    missing: list[MissingFrames] = []
    base, expected, before = 0, 0, None
    for sequence in sorted(chosen):
        each = chosen[sequence]
        ticks = frame_ticks(each.record.codec, each.record.payload)
        end = placed[-1].end if placed else 0
        start = base + each.record.timestamp
        if before is not None:
            passed = max(0, each.wall_us - before.wall_us) * CLOCK_HZ // 1_000_000
            if start < end - ticks or start > end + passed + _MOST_AHEAD_TICKS:
                base += end + max(0, passed - ticks) - start
                start = base + each.record.timestamp
        if sequence > expected:
            missing.append(MissingFrames(expected, sequence - 1, end if placed else start, start))
        start = max(start, end) if placed else start
        placed.append(PlacedFrame(start, start + ticks, each.record.frame()))
        expected, before = sequence + 1, each
    if acked is not None and acked >= expected:
        end = placed[-1].end if placed else 0
        ticks = (acked + 1 - expected) * CLOCK_HZ // 50
        missing.append(MissingFrames(expected, acked, end, end + ticks))
    return CallerTrack(tuple(placed), tuple(missing))

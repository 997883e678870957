"""The two tracks of a call as samples: the caller as acked, the agent as played, aligned to the sample. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voice_gateway.errors import GatewayError
from voice_gateway.recording.reading.agent_track import Answer
from voice_gateway.recording.reading.assembly import Timeline
from voice_gateway.recording.reading.caller_track import PlacedFrame, frame_ticks
from voicelink.audio.codec import CODEC_RATE_HZ, FrameDecoder
from voicelink.audio.resample import Resampler
from voicelink.wire import CLOCK_HZ, AudioFrame, Codec, Malformed

Samples = NDArray[np.int16]
OPUS_LOOKAHEAD_TICKS: Final = 312
"""How much later sound comes out of an Opus decoder than it went into libopus' encoder for voice (RFC 7845, 4.2)."""
LONGEST_S: Final = 8 * 3_600


class TooLong(GatewayError):  # noqa: N818 - it says what is wrong
    """The call lasts longer than `LONGEST_S`, by its timestamps."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """Both tracks at `rate_hz`, of the same length; sample 0 is at `Timeline.origin`."""

    rate_hz: int
    caller: Samples
    agent: Samples


def render(timeline: Timeline, rate_hz: int) -> Tracks:
    """Decode both tracks at 8, 16, 24 or 48 kHz; what is missing is silence. Raises `TooLong`."""
    if timeline.length > LONGEST_S * CLOCK_HZ:
        raise TooLong(f"the call is {timeline.length / CLOCK_HZ:.0f} s long, at most {LONGEST_S} s are decoded")
    per_sample = CLOCK_HZ // rate_hz
    length = timeline.length // per_sample
    caller, agent = np.zeros(length, np.int16), np.zeros(length, np.int16)
    for start, samples in _runs(timeline.caller.frames, rate_hz):
        _put(caller, (start - timeline.origin) // per_sample, samples)
    decoded: dict[int, Samples] = {}
    for piece in timeline.agent.pieces:
        if piece.utterance_id not in decoded:
            decoded = {piece.utterance_id: _utterance(timeline.answers[piece.utterance_id], rate_hz)}
        samples = decoded[piece.utterance_id][piece.begin // per_sample : piece.end // per_sample]
        _put(agent, (piece.start - timeline.origin) // per_sample, samples)
    return Tracks(rate_hz, caller, agent)


def _utterance(answer: Answer, rate_hz: int) -> Samples:
    """Decode all of an answer; sample 0 is its tick 0."""
    frames, end = [], 0
    for frame in answer.frames:
        start = max(frame.timestamp, end)
        end = start + frame_ticks(frame.codec, frame.payload)
        frames.append(PlacedFrame(start, end, frame))
    per_sample = CLOCK_HZ // rate_hz
    whole = np.zeros(-(-end // per_sample), np.int16)
    for start, samples in _runs(frames, rate_hz, is_shifted=False):
        _put(whole, start // per_sample, samples)
    return whole


def _runs(frames: Iterable[PlacedFrame], rate_hz: int, *, is_shifted: bool = True) -> Iterator[tuple[int, Samples]]:
    """Yield (first tick, samples) of frames that follow each other without a gap, in one codec.

    Where `is_shifted`, Opus is put where it was captured, not where the decoder gives it.
    """
    decoders: dict[Codec, FrameDecoder] = {}
    for (_, codec), run in groupby(_numbered(frames), key=lambda each: (each[0], each[1].frame.codec)):
        placed = [each for _, each in run]
        native_hz = CODEC_RATE_HZ[codec] or rate_hz
        decoder = decoders.setdefault(codec, FrameDecoder(native_hz))
        samples = np.concatenate([_decode(decoder, each, native_hz) for each in placed])
        shift = OPUS_LOOKAHEAD_TICKS if is_shifted and codec is Codec.OPUS else 0
        yield placed[0].start - shift, _resample(samples, native_hz, rate_hz)


def _numbered(frames: Iterable[PlacedFrame]) -> Iterator[tuple[int, PlacedFrame]]:
    """Number the runs of frames without a gap between them."""
    number, end = 0, None
    for placed in frames:
        if end is not None and placed.start != end:
            number += 1
        yield number, placed
        end = placed.end


def _decode(decoder: FrameDecoder, placed: PlacedFrame, rate_hz: int) -> Samples:
    """Decode one frame to as many samples as it is long; silence where it cannot be decoded."""
    frame = placed.frame
    # one timestamp for all: where they lie is decided already
    pcm = decoder.decode(AudioFrame(frame.sequence, 0, frame.codec, frame.payload)) if frame.payload else b""
    length = (placed.end - placed.start) * rate_hz // CLOCK_HZ
    samples = np.zeros(length, np.int16)
    if not isinstance(pcm, Malformed):
        _put(samples, 0, np.frombuffer(pcm, "<i2"))
    return samples


def _resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """Convert the rate without delay: the filter's own is cut off in front and made up for at the end."""
    if from_hz == to_hz:
        return samples
    resampler = Resampler(from_hz, to_hz)
    delay = round(resampler.delay_ms * to_hz / 1000)
    tail = np.zeros(from_hz // 25, np.int16)
    converted = np.frombuffer(resampler.push(samples.tobytes() + tail.tobytes()), "<i2")
    return converted[delay : delay + len(samples) * to_hz // from_hz]


def _put(track: Samples, at: int, samples: Samples) -> None:
    """Copy samples into the track, as far as they lie within it."""
    if at < 0:
        samples, at = samples[-at:], 0
    room = max(0, len(track) - at)
    track[at : at + len(samples[:room])] = samples[:room]

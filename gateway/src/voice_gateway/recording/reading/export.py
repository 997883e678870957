"""A recorded call as a file: two tracks, the caller on the left and the agent on the right, in WAV or Opus in Ogg."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from voice_gateway.recording.reading.assembly import Timeline
from voice_gateway.recording.reading.tracks import Tracks, render
from voicelink.audio.codecs.opus import OpusEncoder, OpusProfile
from voicelink.audio.ogg import ogg_opus
from voicelink.audio.wav import wav_header

OGG_RATE_HZ: Final = 48_000
TWO_TRACKS: Final = OpusProfile(bitrate=64_000, complexity=5, has_dtx=False)
_FRAME_SAMPLES: Final = OGG_RATE_HZ // 50


def wav_file(timeline: Timeline, rate_hz: int) -> bytes:
    """Return the call at 8, 16, 24 or 48 kHz, sample by sample as it was. Raises `TooLong`."""
    tracks = render(timeline, rate_hz)
    data = _interleaved(tracks).tobytes()
    return wav_header(rate_hz, len(data), channels=2) + data


def ogg_file(timeline: Timeline) -> bytes:
    """Return the call in Opus, to listen to: of the same length, and a thirtieth of the size. Raises `TooLong`."""
    tracks = render(timeline, OGG_RATE_HZ)
    encoder = OpusEncoder(OGG_RATE_HZ, TWO_TRACKS, channels=2)
    pages = ogg_opus(
        _packets(tracks, encoder),
        channels=2,
        pre_skip=encoder.lookahead,
        samples=len(tracks.caller),
        serial=timeline.heads[0].wall_us & 0xFFFFFFFF,
    )
    return b"".join(pages)


def _packets(tracks: Tracks, encoder: OpusEncoder) -> Iterator[bytes]:
    samples = _interleaved(tracks)
    frames = -(-(len(tracks.caller) + encoder.lookahead) // _FRAME_SAMPLES)
    padded = np.zeros((frames * _FRAME_SAMPLES, 2), np.int16)
    padded[: len(samples)] = samples
    for begin in range(0, len(padded), _FRAME_SAMPLES):
        yield encoder.encode(padded[begin : begin + _FRAME_SAMPLES].tobytes())


def _interleaved(tracks: Tracks) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    return np.column_stack((tracks.caller, tracks.agent))

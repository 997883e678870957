"""An order on its way in frames, as Opus or as a telephone call, and what is left of it in plain datagrams.

The link takes 50 ms one way and up to 30 ms more, and loses datagrams in bursts of 5: 100 ms of speech in plain ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import soxr

from bench.uplink.conditions import FRAMES_LOST_AT_ONCE, JITTER_S, ONE_WAY_S
from bench.words.orders import RATE_HZ
from testbed.simnet.links import Burst, Direction, Profile
from voice_gateway.agent.base import UserAudio
from voicelink.audio.codec import FrameDecoder, FrameEncoder
from voicelink.audio.codecs.g711 import pcmu_encode
from voicelink.audio.frames import FRAME_S, FRAME_TICKS
from voicelink.wire import AudioFrame, Codec, Malformed

LOSSES: Final = (0.0, 0.02, 0.05)


def link(loss: float) -> Profile:
    """One direction of the link."""
    burst = Burst(enter=loss / (1 - loss) / FRAMES_LOST_AT_ONCE, length=FRAMES_LOST_AT_ONCE) if loss else None
    return Profile(delay_s=ONE_WAY_S, jitter_s=JITTER_S, burst=burst)


def opus_frames(pcm: bytes) -> list[AudioFrame]:
    """As the client makes them, which leaves silence out."""
    packets = FrameEncoder(Codec.OPUS, RATE_HZ).push(pcm)
    return [AudioFrame(number, at, Codec.OPUS, payload) for number, (at, payload) in enumerate(packets)]


def telephone_frames(pcm: bytes) -> list[AudioFrame]:
    """As Twilio sends them."""
    narrow = soxr.resample(np.frombuffer(pcm, "<i2").astype(float), RATE_HZ, 8_000)
    coded = pcmu_encode(np.clip(np.rint(narrow), -32_768, 32_767).astype("<i2").tobytes())
    payloads = [coded[start : start + 160] for start in range(0, len(coded), 160)]
    return [AudioFrame(number, number * FRAME_TICKS, Codec.PCMU, payload) for number, payload in enumerate(payloads)]


def in_plain_datagrams(frames: Sequence[AudioFrame], loss: float, seed: int) -> Iterator[UserAudio]:
    """Each frame once: the gateway's decoder conceals what is lost."""
    direction, rng = Direction(link(loss)), random.Random(seed)
    return decoded(
        frame
        for frame in frames
        if not isinstance(direction.carry(frame.sequence * FRAME_S, len(frame.payload), rng), str)
    )


def decoded(frames: Iterable[AudioFrame]) -> Iterator[UserAudio]:
    """By the gateway's decoder, which conceals what is missing between two frames."""
    decoder = FrameDecoder(RATE_HZ)
    for frame in frames:
        pcm = decoder.decode(frame)
        if isinstance(pcm, Malformed):
            raise ValueError(pcm.reason)
        yield UserAudio(frame.sequence, pcm)

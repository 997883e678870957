"""Opus as a WebRTC receiver plays it: a lost frame comes from the next packet's in-band FEC, or is concealed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.words.orders import RATE_HZ
from voice_gateway.agent.base import UserAudio
from voicelink.audio.codecs.opus import OpusDecoder
from voicelink.audio.frames import frame_samples
from voicelink.wire import Malformed


def decoded_with_fec(packets: Mapping[int, bytes], frame_count: int) -> Iterator[UserAudio]:
    """Frames 0 to `frame_count` of 20 ms each, from the packets that are there, by number."""
    decoder, samples = OpusDecoder(RATE_HZ), frame_samples(RATE_HZ)
    for number in range(frame_count):
        if number in packets:
            pcm = decoder.decode(packets[number])
            if isinstance(pcm, Malformed):
                raise ValueError(pcm.reason)
        elif number + 1 in packets:
            pcm = decoder.recover(packets[number + 1])
        else:
            pcm = decoder.conceal(samples)
        yield UserAudio(number, pcm)

"""Uplink frames become the agent's audio, as fast as their playing time allows."""

from __future__ import annotations

import pytest

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeTransport
from tests.unit.voice_gateway.session.sessions import AUDIO
from voice_gateway.access.limits import AccessLimits, Principal
from voice_gateway.access.uplink_limits import MEDIA_BURST_S, MEDIA_CATCH_UP_S, UplinkRateLimiters
from voice_gateway.session.runtime.connection.attachment import Attachment
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.connection.connection_rate_limiter import ConnectionRateLimiter
from voice_gateway.session.runtime.uplink.backlog import SLICE_S, UplinkScheduler
from voice_gateway.session.runtime.uplink.uplink_audio import UplinkAudio
from voice_gateway.session.stats.counters import SessionCounters
from voicelink.wire import AudioFrame, CloseCode, Codec, Malformed

A_FRAME_S = 0.02
SAMPLES = 320  # of 20 ms at the agent's 16 kHz


def frame(number: int, at: int | None = None) -> AudioFrame:
    return AudioFrame(number, 960 * (number if at is None else at), Codec.PCM16_16K, bytes(2 * SAMPLES))


class Uplink:
    def __init__(self, *, has_resumed: bool = False) -> None:
        self.now = 0.0
        self.counters = SessionCounters()
        self.scheduler = UplinkScheduler()
        principal = Principal()
        limiter = ConnectionRateLimiter(
            principal, UplinkRateLimiters(AccessLimits()).of(principal), lambda: self.now, self.counters
        )
        attachment = Attachment("s-1", ClientConnection(REQUEST, FakeTransport(), limiter))
        self.audio = UplinkAudio(AUDIO, self.scheduler, attachment, lambda: self.now, has_resumed=has_resumed)

    def decoded_at_once(self) -> float:
        """How many seconds of audio it decodes before it refuses a frame."""
        number = 0
        while not isinstance(self.audio.decode(frame(number)), Malformed):
            self.scheduler.left_s = SLICE_S  # no event loop here gives turns
            number += 1
        return number * A_FRAME_S


def test_a_frame_becomes_audio_at_the_agent_s_rate_and_counts_by_its_length() -> None:
    uplink = Uplink()
    assert uplink.audio.decode(frame(0)) == bytes(2 * SAMPLES)
    assert uplink.scheduler.left_s == pytest.approx(SLICE_S - A_FRAME_S)


def test_a_gap_in_the_timestamps_becomes_silence_unless_the_stream_begins_anew() -> None:
    uplink = Uplink()
    uplink.audio.decode(frame(0))
    gapped = uplink.audio.decode(frame(1, at=3))
    assert gapped == bytes(3 * 2 * SAMPLES)
    uplink.audio.restart()
    assert uplink.audio.decode(frame(2, at=9)) == bytes(2 * SAMPLES)


def test_a_malformed_frame_is_a_fault_and_counts_as_no_audio() -> None:
    uplink = Uplink()
    fault = uplink.audio.decode(AudioFrame(0, 0, Codec.PCM16_16K, b"odd"))
    assert isinstance(fault, Malformed)
    assert fault.code is not CloseCode.OVERLOADED
    assert uplink.scheduler.left_s == SLICE_S


@pytest.mark.parametrize(("has_resumed", "burst_s"), [(False, MEDIA_BURST_S), (True, MEDIA_CATCH_UP_S)])
def test_audio_beyond_its_rate_is_a_fault_that_is_counted(has_resumed: bool, burst_s: float) -> None:
    uplink = Uplink(has_resumed=has_resumed)
    assert uplink.decoded_at_once() == pytest.approx(burst_s, abs=2 * A_FRAME_S)
    assert uplink.counters.limited == {"session_media": 1}
    fault = uplink.audio.decode(frame(0))
    assert isinstance(fault, Malformed)
    assert fault.code is CloseCode.OVERLOADED


def test_a_stream_that_begins_anew_brings_no_new_rate() -> None:
    uplink = Uplink()
    uplink.decoded_at_once()
    uplink.audio.restart()
    assert uplink.decoded_at_once() == 0
    uplink.now += 1.0
    assert uplink.decoded_at_once() >= 1.0

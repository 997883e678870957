"""How callers find the frames that a server returns decoded and encoded anew, and what they count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.capacity.moq_callers.__main__ import CallCounts, quantiles
from bench.capacity.moq_callers.echoed_frames import BLOCK_MS, FRAME_MS, EchoedFrames
from bench.capacity.traffic import CONVERSATION, RATE_HZ, TICKS_PER_MS, Talk, TrafficPattern
from voicelink.audio.codecs.opus import OpusDecoder, OpusEncoder, OpusProfile

LOOKAHEAD_SAMPLES = 104
BLOCK_SAMPLES = round(RATE_HZ * BLOCK_MS / 1000)
LOUD, SILENT = [2000.0] * 4, [0.0] * 4


@pytest.fixture
def pattern(tmp_path: Path) -> TrafficPattern:
    return TrafficPattern.read(CONVERSATION.write(tmp_path / "conversation"))


def test_a_pattern_is_read_as_it_was_written(pattern: TrafficPattern) -> None:
    assert list(pattern.frames) == CONVERSATION.frames()
    assert pattern.period == 5000 * TICKS_PER_MS


def test_a_call_begins_at_tick_0_wherever_in_the_pattern_and_goes_on_over_its_end(pattern: TrafficPattern) -> None:
    offset = pattern.offset(3)
    assert offset == int(3 * 0.61803398875 % 1 * len(pattern.frames)) != 0
    ticks = [pattern.frame(offset, each)[0] for each in range(2 * len(pattern.frames))]
    assert ticks[0] == 0
    assert ticks == sorted(set(ticks))
    assert ticks[len(pattern.frames)] == pattern.period


def test_speech_is_the_packets_without_a_gap_to_either_side(tmp_path: Path) -> None:
    talk = Talk(talk_s=0.2, pause_s=0.8)
    pattern = TrafficPattern.read(talk.write(tmp_path / "talk"))
    speech = [tick // TICKS_PER_MS for n, (tick, _) in enumerate(pattern.frames) if pattern.is_speech(0, n)]
    assert speech == list(range(0, 201, 20))


def test_the_frames_of_a_spurt_are_late_until_their_last_sample_is_back() -> None:
    echoes = EchoedFrames()
    for position_ms in range(0, 200, 20):
        assert echoes.received(0.0, position_ms, SILENT) == []
    for index in range(3):
        echoes.sent(10 + index * 0.02, is_speech=True)
    assert echoes.received(10.030, 200, [0.0, 0.0, 50.0, 900.0]) == []
    assert echoes.received(10.050, 220, LOUD) == pytest.approx([50.0])
    assert echoes.received(10.100, 240, LOUD) == pytest.approx([80.0])
    assert echoes.received(10.120, 260, LOUD) == pytest.approx([80.0])
    assert echoes.received(10.140, 280, LOUD) == []


def test_the_latest_spurt_that_has_begun_is_the_one_that_is_heard() -> None:
    echoes = EchoedFrames()
    echoes.sent(1.0, is_speech=True)
    echoes.sent(2.0, is_speech=False)
    echoes.sent(6.0, is_speech=True)
    assert echoes.received(6.05, 600, LOUD) == pytest.approx([50.0])


def test_a_spurt_under_way_when_the_echo_begins_does_not_count() -> None:
    echoes = EchoedFrames()
    for index in range(50):
        echoes.sent(index * 0.02, is_speech=True)
    assert [late for each in range(50) for late in echoes.received(each * 0.02, each * 20, LOUD)] == []


def test_each_frame_of_speech_is_found_behind_two_codecs(pattern: TrafficPattern) -> None:
    """As in a pipeline: what is decoded is encoded anew, its delay taken out, and comes back 60 ms after it was due."""
    caller, server, echoed = (
        OpusDecoder(RATE_HZ),
        OpusEncoder(RATE_HZ, OpusProfile(64_000, has_dtx=False)),
        EchoedFrames(),
    )
    packets = [pattern.frame(0, each) for each in range(2 * len(pattern.frames))]
    pcm = b"".join(sound for _, packet in packets if isinstance(sound := caller.decode(packet), bytes))
    pcm = pcm[2 * LOOKAHEAD_SAMPLES :].ljust(len(pcm), b"\0")
    listener, late = OpusDecoder(RATE_HZ), []
    for index, (tick, _) in enumerate(packets):
        due = tick / TICKS_PER_MS / 1000
        echoed.sent(due, is_speech=pattern.is_speech(0, index))
        start = index * server.frame_bytes
        sound = listener.decode(server.encode(pcm[start : start + server.frame_bytes]))
        assert isinstance(sound, bytes)
        blocks = np.frombuffer(sound, "<i2").astype(float).reshape(-1, BLOCK_SAMPLES)
        late += echoed.received(due + 0.06, index * FRAME_MS, np.sqrt((blocks**2).mean(axis=1)).tolist())
    # the second spurt, with the packet behind it that has its end; the first is under way when the echo begins
    assert late == pytest.approx([60.0] * 101)


def test_quantiles_of_nothing_are_0_and_else_by_nearest_rank() -> None:
    assert quantiles([]).n == 0
    found = quantiles([float(each) for each in range(1, 201)])
    assert (found.n, found.median, found.p99, found.max) == (200, 100.0, 198.0, 200.0)


def test_a_window_counts_for_all_calls_together() -> None:
    window = CallCounts()
    window.sent(1.5)
    window.received(40, [30.0, 50.0], [0.0, 1.25])
    window.received(60, [], [])
    window.pong(7.0)
    view = window.view(sessions=3)
    assert (view.sessions, view.lost, view.frames_sent, view.frames_received, view.bytes_received) == (3, 0, 1, 2, 100)
    assert (view.jitter_ms.n, view.jitter_ms.max) == (2, 1.25)
    assert (view.echo_ms.n, view.echo_ms.max, view.pong_ms.max, view.behind_ms.max) == (2, 50.0, 7.0, 1.5)

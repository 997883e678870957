"""The minimum congestion window: speech goes on behind a window that loss has closed, and only speech."""

from __future__ import annotations

import pytest

from tests.unit.voicelink.quic.harness import Pair, connected
from voicelink.net.token_bucket import TokenBucket
from voicelink.quic.parts.minimum_window import MINIMUM_BITS_PER_S, MINIMUM_BURST_BYTES, MINIMUM_ENDS_AFTER_S

SPOKEN = bytes(200)
FRAME_S = 0.020
IP_UDP_BYTES = 28


def speak_unanswered(pair: Pair, seconds: float, byte_count: int = len(SPOKEN)) -> list[int]:
    """What leaves the client, bytes for each 20 ms, while nothing comes back."""
    left = []
    for _ in range(round(seconds / FRAME_S)):
        pair.client.offer_datagram(bytes(byte_count))
        pair.now += FRAME_S
        pair.fire_timers()
        left.append(sum(len(data) + IP_UDP_BYTES for data, _ in pair.client.datagrams_to_send(pair.now)))
    return left


def test_without_a_minimum_window_speech_stops_when_the_window_is_full() -> None:
    pair = connected()
    assert sum(speak_unanswered(pair, 4.0)[150:]) < 5_000


def test_with_a_minimum_window_every_frame_leaves_at_once() -> None:
    pair = connected()
    pair.client.keep_minimum_window(pair.now)
    assert all(byte_count > len(SPOKEN) for byte_count in speak_unanswered(pair, MINIMUM_ENDS_AFTER_S - 0.1))


def test_the_minimum_window_ends_some_time_after_the_last_acknowledgement() -> None:
    pair = connected()
    pair.client.keep_minimum_window(pair.now)
    speak_unanswered(pair, MINIMUM_ENDS_AFTER_S)
    assert sum(speak_unanswered(pair, 2.0)) < 5_000


def test_an_acknowledgement_brings_it_back() -> None:
    pair = connected()
    pair.client.keep_minimum_window(pair.now)
    speak_unanswered(pair, MINIMUM_ENDS_AFTER_S + 1)
    pair.exchange(12)
    assert all(byte_count > len(SPOKEN) for byte_count in speak_unanswered(pair, 2.0))


def test_no_more_than_its_rate_leaves_behind_a_closed_window() -> None:
    pair = connected()
    speak_unanswered(pair, 4.0, 1_000)
    pair.client.keep_minimum_window(pair.now)
    seconds = MINIMUM_ENDS_AFTER_S - 0.1
    left = sum(speak_unanswered(pair, seconds, 1_000))
    assert (
        0.8 * MINIMUM_BITS_PER_S / 8 * seconds < left < MINIMUM_BITS_PER_S / 8 * seconds + MINIMUM_BURST_BYTES + 2_000
    )


def test_a_datagram_that_waits_for_the_token_bucket_sets_the_timer() -> None:
    pair = connected()
    speak_unanswered(pair, 4.0, 1_000)
    pair.client.keep_minimum_window(pair.now)
    while pair.client.datagrams_to_send(pair.now):
        pair.client.offer_datagram(bytes(1_000))
    timer_at = pair.client.get_timer()
    assert timer_at is not None
    assert pair.now < timer_at <= pair.now + 1_100 * 8 / MINIMUM_BITS_PER_S
    assert pair.client.datagrams_to_send(timer_at)


def test_streams_alone_have_no_minimum_window() -> None:
    pair = connected()
    pair.client.keep_minimum_window(pair.now)
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(200_000))
    left = 0
    for _ in range(100):
        pair.now += FRAME_S
        left += sum(len(data) for data, _ in pair.client.datagrams_to_send(pair.now))
    assert left < 20_000


def test_the_window_is_as_before_after_sending() -> None:
    pair = connected()
    controller = pair.client._loss._cc
    pair.client.keep_minimum_window(pair.now)
    window = controller.congestion_window
    speak_unanswered(pair, 0.5)
    assert controller.congestion_window == window
    assert controller.bytes_in_flight > 0


def test_a_token_bucket_grows_with_time_up_to_its_burst() -> None:
    bucket = TokenBucket(1_000, 500, now=1.0)
    bucket.drain(400, 1.0)
    assert bucket.level(1.0) == 100
    assert bucket.level(1.1) == pytest.approx(200)
    assert bucket.level(60.0) == 500
    bucket.drain(10_000, 60.0)
    assert bucket.level(60.0) == 0


@pytest.mark.parametrize("byte_count", [1, 333, 499.9, 500, 9_000])
def test_a_token_bucket_holds_the_amount_when_it_says_so(byte_count: float) -> None:
    bucket = TokenBucket(24_000, 500, now=12345.678)
    bucket.drain(500, 12345.678)
    ready_at = bucket.ready_at(byte_count)
    assert bucket.level(ready_at) >= min(byte_count, 500 - 1e-6)

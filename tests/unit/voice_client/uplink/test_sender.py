"""Frames in datagrams: at once, repeated, repaired, given up."""

from __future__ import annotations

from itertools import pairwise

from testbed.uplink_link import UplinkOverLink, spoken
from voice_client.uplink.redundancy import FARTHEST, Redundancy
from voice_client.uplink.round_trip import RoundTrip
from voice_client.uplink.sender import (
    LAST_RESORT_LOSSES,
    PROBE_FRAMES,
    PROBE_INTERVAL_S,
    TAIL_S,
    Outgoing,
    UplinkCounters,
    UplinkSender,
)
from voicelink.audio.frames import FRAME_S
from voicelink.wire import (
    AudioFrame,
    Codec,
    Malformed,
    UplinkDatagram,
    UplinkMode,
    UplinkReport,
    decode_uplink_datagram,
)

NOW = 10.0
RTT_S = 0.1


def new(limit_s: float | None = None, max_bytes: int = 1_180, next_sequence: int = 0) -> UplinkSender:
    return UplinkSender(next_sequence, lambda: max_bytes, UplinkCounters(), NOW, limit_s=limit_s)


def read(outgoing: list[Outgoing] | Malformed) -> list[UplinkDatagram]:
    assert not isinstance(outgoing, Malformed), outgoing
    datagrams = [decode_uplink_datagram(each) for each in outgoing if isinstance(each, bytes)]
    assert all(isinstance(each, UplinkDatagram) for each in datagrams)
    return datagrams  # type: ignore[return-value]


def sequences(datagram: UplinkDatagram) -> list[int]:
    return [frame.sequence for frame in datagram.frames]


def speak(sender: UplinkSender, frames: range, now: float = NOW) -> list[UplinkDatagram]:
    return [read(sender.append(spoken(n), now + n * FRAME_S))[0] for n in frames]


def test_each_frame_goes_at_once_with_those_before_it() -> None:
    datagrams = speak(new(), range(4))
    assert [each.number for each in datagrams] == [0, 1, 2, 3]
    assert [sequences(each) for each in datagrams] == [[0], [0, 1], [1, 2], [2, 3]]


def test_repeats_too_big_for_the_datagram_of_a_new_frame_are_left_out() -> None:
    """PROTOCOL section 11: 20 ms of PCM16 at 16 kHz are repaired, and not repeated."""
    sender = new()
    frames = (AudioFrame(n, n * 960, Codec.PCM16_16K, bytes(640)) for n in range(6))
    datagrams = [read(sender.append(frame, NOW + frame.sequence * FRAME_S))[0] for frame in frames]
    assert [sequences(each) for each in datagrams] == [[n] for n in range(6)]
    assert [
        sequences(each) for each in read(sender.report_received(UplinkReport(5, 5, 0, 2, ((1, 3),)), NOW + 0.2))
    ] == [[2]]


def test_what_was_reported_is_not_repeated() -> None:
    sender = new()
    speak(sender, range(3))
    sender.report_received(UplinkReport(2, 3, 0, 3), NOW + 0.1)
    assert [(each.first, sequences(each)) for each in speak(sender, range(3, 4))] == [(3, [3])]


def test_a_frame_whose_datagrams_were_all_lost_is_sent_again() -> None:
    sender = new()
    speak(sender, range(5))
    later = speak(sender, range(5, 6))
    assert sequences(later[0]) == [4, 5]
    repairs = read(sender.report_received(UplinkReport(5, 1, 0, 0, ((4, 2),)), NOW + 0.2))
    assert [sequences(each) for each in repairs] == [[0, 1, 2, 3]]
    assert repairs[0].first == 0
    assert sender.counters.repaired == 4


def test_a_frame_that_is_still_on_its_way_is_not() -> None:
    sender = new()
    speak(sender, range(3))
    lost = sender.report_received(UplinkReport(1, 1, 0, 0, ((2, 1),)), NOW + 0.05)
    assert [sequences(each) for each in read(lost)] == [[0]], "frame 1 may be in datagram 2 yet"


def test_the_last_resort_is_the_stream() -> None:
    sender = new()
    number, now = speak(sender, range(1))[0].number, NOW
    for _ in range(LAST_RESORT_LOSSES - 1):
        now += 1.0
        [repair] = read(sender.report_received(UplinkReport(number, 0, 0, 0), now))
        number = repair.number
    assert sender.report_received(UplinkReport(number, 0, 0, 0), now + 1.0) == [spoken(0)]
    assert sender.deadline is None


def test_a_frame_without_room_goes_on_the_stream_and_holds_first() -> None:
    sender = new(max_bytes=100)
    assert sender.append(spoken(0, 200), NOW) == [spoken(0, 200)]
    assert sender.append(spoken(1), NOW, has_room=False) == [spoken(1)]
    assert [(each.first, sequences(each)) for each in speak(sender, range(2, 3))] == [(0, [2])]
    sender.report_received(UplinkReport(0, 1, 0, 3), NOW + 0.1)
    assert speak(sender, range(3, 4))[0].first == 3


def test_a_repair_that_fits_no_datagram_any_more_goes_on_the_stream() -> None:
    room = [1_180]
    sender = UplinkSender(0, lambda: room[0], UplinkCounters(), NOW)
    sender.append(spoken(0, 400), NOW)
    room[0] = 300
    assert sender.report_received(UplinkReport(0, 0, 0, 0), NOW + 0.1) == [spoken(0, 400)]


def test_repairs_beyond_half_a_second_of_their_tokens_go_on_the_stream() -> None:
    sender = new()
    speak(sender, range(400))
    outgoing = sender.report_received(UplinkReport(399, 0, 0, 0), NOW + 9.0)
    assert not isinstance(outgoing, Malformed)
    streamed = [each.sequence for each in outgoing if isinstance(each, AudioFrame)]
    repaired = [n for each in read(outgoing) for n in sequences(each)]
    assert repaired == list(range(len(repaired)))
    assert streamed == list(range(400 - len(streamed), 400))
    assert sender.deadline is not None


def test_repeats_go_by_themselves_at_the_end_of_an_utterance() -> None:
    sender = new()
    speak(sender, range(1))
    assert sender.deadline == NOW + TAIL_S
    assert [sequences(each) for each in read(sender.tick(NOW + TAIL_S))] == [[0]]
    assert sender.deadline is not None
    assert sender.deadline > NOW + 3 * TAIL_S, "then it waits for a report"


def probed(sender: UplinkSender, first: int, now: float, until: float) -> list[float]:
    """When the oldest frames, from that one on, were sent again."""
    at_s = []
    while (at := sender.deadline) is not None and at < until:
        now = max(at, now)
        oldest = list(range(first, first + PROBE_FRAMES))
        at_s += [now for each in read(sender.tick(now)) if sequences(each) == oldest]
    return at_s


def test_where_no_report_comes_the_oldest_go_again() -> None:
    sender = new()
    speak(sender, range(2))
    sender.report_received(UplinkReport(1, 2, 0, 2), NOW + 0.1)
    speak(sender, range(2, 20))
    probes = probed(sender, 2, NOW + 20 * FRAME_S, NOW + 2.0)
    assert len(probes) > 20
    assert {round(b - a, 6) for a, b in pairwise(probes)} == {PROBE_INTERVAL_S}


def test_a_path_of_which_nothing_is_known_is_probed_ever_more_seldom() -> None:
    sender = new()
    speak(sender, range(20))
    probes = probed(sender, 0, NOW + 20 * FRAME_S, NOW + 3.0)
    assert [round((b - a) / PROBE_INTERVAL_S) for a, b in pairwise(probes)] == [1, 2, 4, 8, 16, 25]


def test_frames_of_two_codecs_share_no_datagram() -> None:
    sender = new()
    speak(sender, range(2))
    other = AudioFrame(2, 1_920, Codec.PCMU, b"\xff" * 160)
    assert [sequences(each) for each in read(sender.append(other, NOW + 0.04))] == [[2]]
    repairs = read(sender.report_received(UplinkReport(2, 0, 0, 0), NOW + 0.2))
    assert [sequences(each) for each in repairs] == [[0, 1], [2]]


def test_a_frame_over_its_limit_is_given_up_and_that_is_told() -> None:
    sender = new(limit_s=0.1)
    speak(sender, range(1))
    assert sender.tick(NOW + 0.099) != []
    announced = read(sender.tick(NOW + 0.140))
    assert [(each.first, sequences(each)) for each in announced] == [(1, [])]
    assert sender.counters.given_up == 1
    sender.report_received(UplinkReport(announced[0].number, 1, 0, 1), NOW + 0.2)
    assert sender.deadline is None


def test_reports_of_what_was_never_sent_are_breaches() -> None:
    sender = new()
    speak(sender, range(2))
    assert isinstance(sender.report_received(UplinkReport(2, 1, 0, 0), NOW), Malformed)
    assert isinstance(sender.report_received(UplinkReport(1, 1, 0, 3), NOW), Malformed)
    assert read(sender.report_received(UplinkReport(1, 1, 0, 0, ((1, 1 << 60),)), NOW + 0.1)) != []


def test_redundancy_follows_the_loss_up_at_once_and_down_slowly() -> None:
    redundancy = Redundancy()
    for sent in range(1, 251):
        redundancy.observe(sent, sent, RTT_S, NOW + sent * FRAME_S)
    redundancy.observe(251, 251, RTT_S, NOW + 60)
    assert redundancy.repeats == 0
    redundancy.observe(260, 251, RTT_S, NOW + 60.1)
    assert redundancy.wanted == 3
    for sent in range(261, 620):
        redundancy.observe(sent, sent - 9, RTT_S, NOW + 60.1 + (sent - 260) * FRAME_S)
    assert redundancy.wanted == redundancy.repeats == 1


def test_the_third_repeat_is_beyond_a_burst() -> None:
    redundancy = Redundancy()
    sent = received = 0
    for index in range(20):
        sent, received = sent + 40, received + 35
        redundancy.observe(sent, received, RTT_S, NOW + index * 0.4)
    assert redundancy.distances == (1, 2, 5)
    redundancy.observe(sent + 900, received, RTT_S, NOW + 9)
    assert redundancy.distances[2] <= FARTHEST


def test_the_round_trip_is_that_of_the_newest_datagram() -> None:
    trip = RoundTrip()
    for number in range(3):
        trip.sent(number, NOW + number)
    assert trip.reported(1, 500, NOW + 2.0)
    assert trip.oldest_unreported_at == NOW + 2
    assert abs(trip.report_timeout_s - (0.5 + 4 * 0.25 + 0.06)) < 1e-9
    assert not trip.reported(1, 0, NOW + 3.0), "nothing new"
    assert trip.reported(2, 0, NOW + 3.0)
    assert trip.oldest_unreported_at is None


def test_a_clean_link_costs_little_and_a_dead_one_is_caught_up_with() -> None:
    """The goals of the mode, on a link of 50 ms one way."""
    link = UplinkOverLink(lambda now, is_up: [] if 115.0 <= now < 117.0 else [0.05])
    link.say(1_500)
    link.run_until(140.0)
    assert [frame.sequence for _, frame in link.delivered] == list(range(1_500))
    assert max(link.lateness(0.05)) <= 2.10
    before = [byte_count + 60 for at, byte_count in link.datagrams if 106.0 <= at < 115.0]
    assert sum(before) / len(before) < 1.01 * (60 + 9 + 5 + 60)


def test_a_deadline_call_has_no_frame_twice() -> None:
    link = UplinkOverLink(
        lambda now, is_up: [] if 101.0 <= now < 102.0 else [0.05, 0.06], mode=UplinkMode.DEADLINE, limit_s=0.3
    )
    link.say(150)
    link.run_until(110.0)
    assert [frame.sequence for _, frame in link.delivered] == list(range(150))
    given_up = [frame.sequence for _, frame in link.delivered if frame != spoken(frame.sequence)]
    assert given_up == list(range(50, 50 + len(given_up)))
    assert 30 <= len(given_up) <= 50

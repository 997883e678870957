"""Repeats never fill a link: they end where they queue or cause losses, and go on where the path has room for them."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import pytest

from testbed.simnet.links import Direction, Profile
from testbed.uplink_link import LinkModel, UplinkOverLink
from voice_client.uplink.repeat_limit import (
    FIRST_BACKOFF_S,
    FIRST_LIMIT,
    LONGEST_BACKOFF_S,
    MOST_REPEATS,
    PROOF_S,
    QUEUE_S,
    QueueingDelay,
    RepeatLimit,
    SustainedLoss,
)

START = 100.0
ONE_WAY_S = 0.05
RTT_S = 0.1
NARROW_BYTES_S = 8_000
"""64 kbit/s: a frame takes 6,750 once, and 10,450 with one repeat."""
DEEP = Profile(delay_s=0.0, rate_bytes_s=NARROW_BYTES_S, queue_bytes=2 * NARROW_BYTES_S)
SHALLOW = Profile(delay_s=0.0, rate_bytes_s=NARROW_BYTES_S, queue_bytes=400)
WIDE = Profile(delay_s=0.0)


def clear(now: float, is_up: bool) -> list[float]:
    return [ONE_WAY_S]


def lossy(seed: int, loss: float) -> LinkModel:
    rng = random.Random(seed)
    return lambda now, is_up: [] if is_up and rng.random() < loss else [ONE_WAY_S]


def late_between(link: UplinkOverLink, begin_s: float, end_s: float) -> list[float]:
    """How late the frames made between these times of the call were."""
    return [
        at - made_at - ONE_WAY_S
        for at, frame in link.delivered
        if begin_s <= (made_at := link.made_at[frame.sequence]) - START < end_s
    ]


def repeats_over(link: UplinkOverLink, end_s: float, each: Callable[[float], None] = lambda at_s: None) -> list[int]:
    """Run the call; how many repeats were sent after each 10 ms."""
    found = []
    for index in range(round(end_s * 100)):
        each(index / 100)
        link.run_until(START + (index + 1) / 100)
        found.append(link.sender.redundancy.repeats)
    return found


def limits_over(link: UplinkOverLink, end_s: float, each: Callable[[float], None] = lambda at_s: None) -> list[int]:
    """Run the call; how many repeats were allowed after each 10 ms."""
    found: list[int] = []

    def note(at_s: float) -> None:
        found.append(link.sender.redundancy.limit.repeats)
        each(at_s)

    repeats_over(link, end_s, note)
    return found


def test_a_call_on_a_narrow_link_is_about_as_late_as_without_repeats() -> None:
    link = UplinkOverLink(clear, bottleneck=Direction(DEEP))
    link.say(1_000)
    link.run_until(START + 25)
    assert len(link.delivered) == 1_000
    assert max(late_between(link, 0, 20)) < 0.3
    assert median(late_between(link, 0, 20)) < 0.03, "a frame takes 17 ms on the link"
    assert median(late_between(link, 1.5, 3)) < QUEUE_S + 0.02


@pytest.mark.parametrize("seed", range(4))
def test_losses_of_a_narrow_link_are_not_answered_by_filling_it(seed: int) -> None:
    link = UplinkOverLink(lossy(seed, 0.05), bottleneck=Direction(DEEP))
    link.say(3_000)
    repeats = repeats_over(link, 60)
    tried_at = [index / 100 for index, (a, b) in enumerate(pairwise(repeats)) if b > a]
    assert median(late_between(link, 0, 60)) < 0.06
    assert max(late_between(link, 10, 60)) < 1.0
    assert 2 <= len(tried_at) <= 6, "with pauses that double"
    gaps = [b - a for a, b in pairwise(tried_at)]
    assert gaps == sorted(gaps)


@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_a_link_that_becomes_narrow_in_mid_call_is_drained(loss: float) -> None:
    bottleneck = Direction(WIDE)
    link = UplinkOverLink(lossy(5, loss), bottleneck=bottleneck)
    link.say(1_500)
    before = repeats_over(link, 10)
    assert before[-1] == (MOST_REPEATS if loss else 0)
    bottleneck.profile = DEEP
    link.run_until(START + 35)
    assert median(late_between(link, 10, 30)) < 0.06
    assert max(late_between(link, 10, 15)) < 1.2
    assert median(late_between(link, 15, 20)) < QUEUE_S + 0.06


@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_repeats_that_overflow_a_short_queue_end(loss: float) -> None:
    """Its delay stays below what counts as a queue: the loss that repeats cause is seen by leaving them out."""
    link = UplinkOverLink(lossy(6, loss), bottleneck=Direction(SHALLOW))
    link.say(3_000)
    repeats = repeats_over(link, 60)
    later = repeats[1_000:]
    assert sum(each > 1 for each in later) < 0.05 * len(later)
    assert sum(later) < (0.8 if loss else 0.1) * len(later)
    assert median(late_between(link, 5, 60)) < 0.06


@pytest.mark.parametrize("seed", range(4))
def test_random_loss_gets_all_repeats_within_2_s_and_keeps_them(seed: int) -> None:
    limits: list[int] = []
    link = UplinkOverLink(lossy(seed, 0.05))
    link.say(3_000)
    repeats_over(link, 60, lambda at_s: limits.append(link.sender.redundancy.limit.repeats))
    assert set(limits[200:]) == {MOST_REPEATS}


@pytest.mark.parametrize("loss", [0.15, 0.25, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_high_random_loss_is_found_not_to_be_the_repeats_doing(seed: int, loss: float) -> None:
    link = UplinkOverLink(lossy(seed, loss))
    link.say(3_000)
    repeats = repeats_over(link, 60)
    without_s = sum(each < MOST_REPEATS for each in repeats[200:]) / 100
    assert 0.5 < without_s < 5, "one trial or two of a second in a minute"


def test_a_queue_of_other_traffic_that_comes_and_goes_ends_repeats_until_it_is_gone() -> None:
    rate_bytes_s, most_s = 100_000, 0.5
    bottleneck = Direction(Profile(delay_s=0.0, rate_bytes_s=rate_bytes_s, queue_bytes=round(rate_bytes_s * most_s)))
    link = UplinkOverLink(lossy(2, 0.05), bottleneck=bottleneck)
    link.say(1_000)
    waiting = [0.0, 5.0]

    def download(at_s: float) -> None:
        """Another flow's window grows by 100 ms of the link each second from 5 to 9 s, and is halved every 2 s."""
        level_s, since_s = waiting
        waiting[:] = max(0.0, level_s - (at_s - since_s)), at_s
        while 5 <= at_s < 9 and waiting[0] < 0.2 + 0.1 * ((at_s - 5) % 2):
            if isinstance(bottleneck.carry(START + at_s, 1_172, random.Random(0)), str):
                break
            waiting[0] += 1_200 / rate_bytes_s

    repeats = repeats_over(link, 20, download)
    assert repeats[499] == MOST_REPEATS
    assert set(repeats[600:700]) == {0}
    assert set(repeats[1_450:1_550]) == {MOST_REPEATS}, "and then they are back"


def longer_from(at_s: float, by_s: float, seed: int, loss: float) -> LinkModel:
    """The round trip grows by so much at that time of the call."""
    rng = random.Random(seed)
    return lambda now, is_up: [] if rng.random() < loss else [ONE_WAY_S + by_s / 2 * (now >= START + at_s)]


@pytest.mark.parametrize("by_s", [0.065, 0.1, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_a_path_that_became_longer_unknown_to_the_client_has_all_repeats_again_within_3_5_s(
    seed: int, by_s: float
) -> None:
    """Without a repeat the delay stays as it is: it is the path's own."""
    link = UplinkOverLink(longer_from(5, by_s, seed, 0.05))
    link.say(1_000)
    limits = limits_over(link, 20)
    assert limits[499] == MOST_REPEATS
    assert 0 in limits[500:650]
    assert set(limits[850:]) == {MOST_REPEATS}


@pytest.mark.parametrize("by_s", [0.065, 0.1, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_a_move_to_a_longer_path_leaves_one_repeat_and_all_come_back_within_3_5_s(seed: int, by_s: float) -> None:
    link = UplinkOverLink(longer_from(5, by_s, seed, 0.05))
    link.say(1_000)
    limits = limits_over(link, 20, lambda at_s: link.sender.path_changed(link.now) if at_s == 5 else None)
    assert min(limits[450:]) == FIRST_LIMIT
    assert set(limits[850:]) == {MOST_REPEATS}
    late = late_between(link, 5, 10)
    assert sum(each > by_s / 2 + 0.06 for each in late) < 0.02 * len(late), "repairs take a round trip; repeats do not"


def test_a_move_from_a_narrow_link_has_all_repeats_in_1_5_s() -> None:
    bottleneck = Direction(DEEP)
    link = UplinkOverLink(lossy(8, 0.05), bottleneck=bottleneck)
    link.say(2_000)

    def move(at_s: float) -> None:
        if at_s == 30:
            bottleneck.profile = WIDE
            link.sender.path_changed(link.now)

    repeats = repeats_over(link, 40, move)
    assert set(repeats[2_500:3_000]) == {0}
    assert set(repeats[3_150:]) == {MOST_REPEATS}


@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_a_move_to_a_narrow_link_does_not_fill_it(loss: float) -> None:
    bottleneck = Direction(WIDE)
    link = UplinkOverLink(lossy(5, loss), bottleneck=bottleneck)
    link.say(1_500)
    repeats_over(link, 10)
    bottleneck.profile = DEEP
    link.sender.path_changed(link.now)
    link.run_until(START + 35)
    assert median(late_between(link, 10, 30)) < 0.06
    assert max(late_between(link, 10, 15)) < 1.2
    assert median(late_between(link, 15, 20)) < QUEUE_S + 0.06


def test_repeats_are_found_innocent_of_one_delay_in_10_s() -> None:
    """The second one may be the queue of a link that frames alone all but fill, which does not drain either."""
    limit, without = RepeatLimit(), []
    for index in range(600):
        at_s = 0.2 + index * 0.04
        report(limit, at_s, RTT_S + 0.1 * (at_s >= 4) + 0.1 * (at_s >= 8) + 0.1 * (at_s >= 19))
        without.append((at_s, limit.repeats < MOST_REPEATS and at_s > 3))
    begins = [at_s for (_, before), (at_s, after) in pairwise(without) if after and not before]
    ends = [at_s for (_, before), (at_s, after) in pairwise(without) if before and not after]
    pauses = [end - begin for begin, end in zip(begins, ends, strict=True)]
    assert len(pauses) == 3
    assert pauses[0] < 2
    assert pauses[1] > FIRST_BACKOFF_S + 0.5
    assert pauses[2] < FIRST_BACKOFF_S + 0.5


def test_a_delay_that_falls_or_grows_without_repeats_is_a_queue() -> None:
    for slope in (-0.1, 0.1):
        queue = QueueingDelay()
        for index in range(50):
            delay_s = 0.0 if index < 10 else 0.2 + slope * (index - 10) * 0.04
            queue.observe(RTT_S + delay_s, START + index * 0.04)
        assert queue.is_standing


def test_a_number_that_the_path_carries_is_kept_while_the_next_one_is_tried() -> None:
    """Two repeats queue, and one does not."""
    limit, found = RepeatLimit(), []
    for index in range(1_500):
        report(limit, 0.2 + index * 0.04, RTT_S + 0.09 * (limit.repeats > 1))
        found.append(limit.repeats)
    assert found[250:].count(1) > 0.9 * len(found[250:])
    assert 2 in found[250:]


def test_after_an_outage_repeats_go_on_at_once() -> None:
    rng = random.Random(4)
    link = UplinkOverLink(lambda now, is_up: [] if 5 <= now - START < 7 or rng.random() < 0.05 else [ONE_WAY_S])
    link.say(600)
    assert set(repeats_over(link, 12)[300:]) == {MOST_REPEATS}


def test_what_a_radio_kept_in_an_outage_holds_repeats_up_for_less_than_2_s() -> None:
    """All that is sent between 5 and 6 s arrives at 6 s."""
    rng = random.Random(5)
    link = UplinkOverLink(
        lambda now, is_up: [] if rng.random() < 0.05 else [max(0.0, START + 6 - now) * (now > START + 5) + ONE_WAY_S]
    )
    link.say(600)
    assert set(repeats_over(link, 12)[800:]) == {MOST_REPEATS}


def test_a_jitter_of_30_ms_each_way_is_no_queue() -> None:
    rng, queue = random.Random(7), QueueingDelay()
    for index in range(15_000):
        queue.observe(RTT_S + rng.uniform(0, 0.03) + rng.uniform(0, 0.03), START + index * 0.04)
        assert not queue.is_standing


def test_one_late_report_is_no_queue_and_four_are() -> None:
    queue = QueueingDelay()
    for index, rtt_s in enumerate([0.1, 0.1, 0.1, 0.1, 0.5, 0.1, 0.2, 0.2, 0.2]):
        queue.observe(rtt_s, START + index * 0.04)
        assert not queue.is_standing
    queue.observe(0.2, START + 9 * 0.04)
    assert queue.is_standing
    queue.observe(0.1, START + 10 * 0.04)
    assert not queue.is_standing


def test_an_outage_is_no_sustained_loss() -> None:
    loss = SustainedLoss()
    loss.observe(12, 12)
    loss.observe(120, 12)
    for sent in range(132, 121 + 6 * 12, 12):
        loss.observe(sent, sent - 108)
    assert not loss.is_high
    for sent in range(204, 205 + 8 * 12, 12):
        loss.observe(sent, 84 + (sent - 192) // 2)
    assert loss.is_high
    assert loss.share == 0.5


def report(limit: RepeatLimit, at_s: float, rtt_s: float = RTT_S) -> None:
    sent = round(at_s * 50)
    limit.observe(sent, sent, rtt_s, MOST_REPEATS, START + at_s)


def test_repeats_rise_one_at_a_time_as_the_path_carries_them() -> None:
    limit = RepeatLimit()
    assert (limit.repeats, limit.has_headroom) == (FIRST_LIMIT, False)
    rises = []
    for index in range(100):
        before = limit.repeats
        report(limit, 0.2 + index * 0.04)
        rises += [index * 0.04] * (limit.repeats - before)
    assert limit.has_headroom
    assert limit.repeats == MOST_REPEATS
    assert all(b - a >= PROOF_S + RTT_S - 1e-6 for a, b in pairwise(rises))


def test_the_pause_before_too_many_repeats_are_tried_again_doubles_up_to_its_longest() -> None:
    limit, at_s, tried_at = RepeatLimit(), 0.2, [0.0]
    while at_s < 400:
        report(limit, at_s, RTT_S + 0.2 * (limit.repeats > 0 and at_s > 1))
        if limit.repeats and limit.has_headroom and at_s - tried_at[-1] > 1:
            tried_at.append(at_s)
        at_s += 0.04
    pauses = [b - a for a, b in pairwise(tried_at[1:])]
    assert pauses[0] >= FIRST_BACKOFF_S
    assert all(b > a * 1.6 for a, b in pairwise(pauses) if b < LONGEST_BACKOFF_S)
    assert max(pauses) < LONGEST_BACKOFF_S + 2

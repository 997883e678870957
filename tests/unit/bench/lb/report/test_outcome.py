"""Quantiles, medians and what one run says."""

import pytest

from bench.lb.report.outcome import Outcome, median, merge, pooled, quantile, ratio


def outcome(received: int, cpu_ns: int = 0, sent: int | None = None) -> Outcome:
    sent = received if sent is None else sent
    return Outcome(2.0, sent, received, received, 1, 0, 0, 0, 0, [(100, 110, received)], cpu_ns)


def test_a_quantile_lies_within_its_bucket() -> None:
    histogram = [(0, 10, 50), (10, 20, 50)]
    assert quantile(histogram, 0.25) == 5
    assert quantile(histogram, 0.5) == 10
    assert quantile(histogram, 0.75) == 15
    assert quantile(histogram, 1.0) == 20


def test_a_quantile_skips_the_gap_between_buckets() -> None:
    assert quantile([(0, 1, 98), (1000, 1010, 2)], 0.99) == 1005


def test_nothing_has_no_quantile() -> None:
    assert quantile([], 0.5) is None


def test_histograms_of_one_grid_merge() -> None:
    assert merge([[(0, 10, 1), (10, 20, 2)], [(10, 20, 3), (20, 30, 4)]]) == [(0, 10, 1), (10, 20, 5), (20, 30, 4)]


def test_an_echo_is_two_datagrams_for_the_load_balancer() -> None:
    run = outcome(received=1000, cpu_ns=4_000_000)
    assert run.datagrams_per_s == 1000
    assert run.cpu_ns_per_datagram == 2000
    assert run.core_share == pytest.approx(0.002)


def test_a_run_without_an_answer_has_no_cost() -> None:
    assert outcome(received=0, cpu_ns=5).cpu_ns_per_datagram is None


def test_what_was_sent_and_did_not_come_back_is_lost() -> None:
    assert outcome(received=7, sent=10).lost == 3
    assert outcome(received=10, sent=9).lost == 0


def test_rounds_are_pooled() -> None:
    total = pooled([outcome(10, 5), outcome(20, 7)])
    assert (total.seconds, total.received, total.cpu_ns, total.misrouted) == (4.0, 30, 12, 2)
    assert total.latency_ns == [(100, 110, 30)]


def test_medians_and_ratios_know_absence() -> None:
    assert median([3.0, None, 1.0]) == 2.0
    assert median([None]) is None
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, 0.0) is None
    assert ratio(None, 2.0) is None

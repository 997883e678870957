"""Limits on addresses, attempts, sessions and uplinks."""

from __future__ import annotations

from typing import Any

import pytest

from voice_gateway.access.attempts import Attempts, Handshakes
from voice_gateway.access.limits import AccessLimits, Principal
from voice_gateway.access.session_quota import SessionQuota, WaitingConnections
from voice_gateway.access.uplink_limits import UplinkRateLimiters
from voice_gateway.endpoint.admission.address_validation import Handshake
from voice_gateway.net.network import network_of, network_of_peer

ALICE = Principal(network_of("192.0.2.1"), "alice")
BOB = Principal(network_of("192.0.2.1"), "bob")


class TestNetwork:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8::1", "2001:db8:0:0:ffff::2"),
            ("fe80::1%eth0", "fe80::2%eth1"),
        ],
    )
    def test_one_caller(self, one, other):
        assert network_of(one) == network_of(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1"), ("192.0.2.1", "::c000:201")],
    )
    def test_two_callers(self, one, other):
        assert network_of(one) != network_of(other)

    @pytest.mark.parametrize(
        ("peer", "host"),
        [("192.0.2.1:5000", "192.0.2.1"), ("[2001:db8::1]:5000", "2001:db8::1"), ("?:0", "no address")],
    )
    def test_of_a_peer(self, peer, host):
        assert network_of_peer(peer) == network_of(host)


class TestHandshakes:
    def test_beyond_the_limit_an_address_must_be_proven_and_is_refused_only_then(self):
        policy = Handshakes(AccessLimits(address_attempts_per_s=0.1))
        meet = [policy.decide("192.0.2.1", is_proven=False, now=0.0) for _ in range(2)]
        assert meet == [Handshake.ADMIT, Handshake.RETRY]
        meet = [policy.decide("192.0.2.1", is_proven=True, now=0.0) for _ in range(2)]
        assert meet == [Handshake.ADMIT, Handshake.REFUSE]
        assert policy.decide("192.0.2.2", is_proven=False, now=0.0) is Handshake.ADMIT
        assert policy.decide("192.0.2.1", is_proven=True, now=10.0) is Handshake.ADMIT

    def test_who_spoofs_addresses_takes_nothing_from_those_who_prove_theirs(self):
        policy = Handshakes(AccessLimits(address_attempts_per_s=1.0))
        for number in range(17_000):
            policy.decide(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", is_proven=False, now=0.0)
            policy.decide("192.0.2.1", is_proven=False, now=0.0)
        assert policy.decide("192.0.2.1", is_proven=True, now=0.0) is Handshake.ADMIT

    def test_without_a_limit_all_are_admitted(self):
        policy = Handshakes(AccessLimits())
        assert {policy.decide("192.0.2.1", is_proven=False, now=0.0) for _ in range(1000)} == {Handshake.ADMIT}

    def test_limits_can_change(self):
        policy = Handshakes(AccessLimits())
        policy.renew(AccessLimits(address_attempts_per_s=0.1))
        policy.decide("192.0.2.1", is_proven=True, now=0.0)
        assert policy.decide("192.0.2.1", is_proven=True, now=0.0) is Handshake.REFUSE


class TestAttempts:
    def test_by_network_and_by_subject(self):
        attempts = Attempts(AccessLimits(address_attempts_per_s=0.2, subject_attempts_per_s=0.1))
        assert [attempts.by_network(ALICE.network, 0.0) is None for _ in range(3)] == [True, True, False]
        assert [attempts.by_subject("alice", 0.0) is None for _ in range(2)] == [True, False]
        exceeded = attempts.by_subject("alice", 4.0)
        assert exceeded is not None
        assert (exceeded.limit, round(exceeded.wait_s, 6)) == ("subject_attempts", 6.0)
        assert attempts.by_subject("bob", 0.0) is None

    def test_nobody_in_particular_is_not_limited(self):
        attempts = Attempts(AccessLimits(address_attempts_per_s=0.1, subject_attempts_per_s=0.1))
        assert {attempts.by_network(None, 0.0) for _ in range(9)} == {attempts.by_subject(None, 0.0)} == {None}


class TestWaiting:
    def test_beyond_the_share_of_a_network_its_oldest_gives_way(self):
        waiting = WaitingConnections[int](most=10, most_of_address=2)
        assert [waiting.enter(1, b"a"), waiting.enter(2, b"b"), waiting.enter(3, b"a")] == [None, None, None]
        assert waiting.enter(4, b"a") == 1
        assert waiting.enter(5, b"b") is None
        waiting.leave(3)
        waiting.leave(3)
        assert waiting.enter(6, b"a") is None
        assert waiting.enter(7, b"a") == 4
        assert len(waiting) == 4

    def test_where_all_wait_the_oldest_of_the_largest_network_gives_way(self):
        waiting = WaitingConnections[int](most=4, most_of_address=3)
        for connection, network in ((1, b"a"), (2, b"b"), (3, b"b"), (4, b"c")):
            assert waiting.enter(connection, network) is None
        assert waiting.enter(5, b"d") == 2
        assert len(waiting) == 4
        for connection in (1, 3, 4, 5):
            waiting.leave(connection)
        assert len(waiting) == 0
        assert not waiting._counts

    def test_a_carrier_has_no_share(self):
        waiting = WaitingConnections[int](most=10, most_of_address=2)
        assert [waiting.enter(connection, None) for connection in range(5)] == [None] * 5


class TestPlaces:
    def test_are_counted_by_address_and_by_subject(self):
        limits = AccessLimits(address_sessions=2, subject_sessions=1)
        quota = SessionQuota()
        quota.enter(ALICE)
        exceeded = quota.full(ALICE, limits)
        assert exceeded is not None
        assert exceeded.limit == "subject_sessions"
        assert quota.full(BOB, limits) is None
        quota.enter(BOB)
        exceeded = quota.full(Principal(ALICE.network, "carol"), limits)
        assert exceeded is not None
        assert exceeded.limit == "address_sessions"
        quota.leave(ALICE)
        assert quota.full(ALICE, limits) is None

    def test_nobody_in_particular_needs_none(self):
        quota = SessionQuota()
        for _ in range(9):
            quota.enter(Principal())
        assert quota.full(Principal(), AccessLimits(address_sessions=1, subject_sessions=1)) is None

    def test_who_left_is_forgotten(self):
        quota = SessionQuota()
        quota.enter(ALICE)
        quota.leave(ALICE)
        assert not quota._taken


class TestUplinks:
    def test_a_session_has_its_own_measure(self):
        uplinks = UplinkRateLimiters(AccessLimits(session_bytes_per_s=10))
        first, second = uplinks.of(ALICE), uplinks.of(ALICE)
        assert first.count_bytes(600, 0.0) is None
        exceeded = first.count_bytes(5, 0.0)
        assert exceeded is not None
        assert (exceeded.limit, exceeded.wait_s) == ("session_bytes", 0.5)
        assert second.count_bytes(600, 0.0) is None
        assert first.count_bytes(5, 0.5) is None

    @pytest.mark.parametrize("whose", ["address", "subject"])
    def test_those_of_one_share_one(self, whose):
        limit: dict[str, Any] = {f"{whose}_messages_per_s": 0.05}
        uplinks = UplinkRateLimiters(AccessLimits(**limit))
        meters = [uplinks.of(ALICE), uplinks.of(ALICE)]
        assert [of.message(0.0) is None for of in meters * 2] == [True, True, True, False]
        other = Principal(network_of("192.0.2.2"), "bob")
        assert uplinks.of(other).message(0.0) is None

    def test_without_limits_nothing_is_measured(self):
        of = UplinkRateLimiters(AccessLimits()).of(ALICE)
        assert of.count_bytes(1 << 40, 0.0) is of.message(0.0) is None

from __future__ import annotations

from voice_gateway.endpoint.admission.address_validation import ALL_FAILURES, NETWORK_FAILURES, DecryptionFailures


def test_a_network_must_prove_itself_beyond_its_failures_and_others_need_not() -> None:
    failures = DecryptionFailures()
    for _ in range(int(NETWORK_FAILURES.burst)):
        assert not failures.are_too_many(b"a", 0.0)
        failures.count(b"a", 0.0)
    assert failures.are_too_many(b"a", 0.0)
    assert not failures.are_too_many(b"b", 0.0)


def test_failures_are_forgotten_at_the_rate_of_the_token_bucket() -> None:
    failures = DecryptionFailures()
    for _ in range(100):
        failures.count(b"a", 0.0)
    assert failures.are_too_many(b"a", 0.99 / NETWORK_FAILURES.per_s)
    assert not failures.are_too_many(b"a", 1.0 / NETWORK_FAILURES.per_s)


def test_failures_of_many_networks_make_all_newcomers_prove_themselves() -> None:
    failures = DecryptionFailures()
    for number in range(int(ALL_FAILURES.burst)):
        failures.count(number.to_bytes(4, "big"), 0.0)
    assert failures.are_too_many(b"another", 0.0)
    assert not failures.are_too_many(b"another", 1.0)

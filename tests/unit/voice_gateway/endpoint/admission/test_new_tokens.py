from __future__ import annotations

import pytest

from tests.unit.voicelink.quic.harness import NOW, seeded
from voice_gateway.endpoint.admission.address_validation import (
    NEW_TOKEN_LIFETIME_S,
    KnownAddress,
    NewTokens,
    RetryTokens,
    SingleUse,
)
from voice_gateway.endpoint.sockets.client_paths import ForwardedPath

ADDRESS = ("198.51.100.7", 40001)
SECRET = b"k" * 32


def tokens(secret: bytes = SECRET, seed: int = 1) -> NewTokens:
    return NewTokens([secret], seeded(seed))


def test_another_worker_with_the_same_secret_knows_the_address_at_any_port() -> None:
    token = tokens(seed=1).issue(ADDRESS, NOW)
    assert tokens(seed=2).check(token, (ADDRESS[0], 1), NOW + 60) == KnownAddress()


def test_a_token_counts_once_at_each_worker() -> None:
    worker, token = tokens(), tokens().issue(ADDRESS, NOW)
    assert [worker.check(token, ADDRESS, NOW) for _ in range(3)] == [KnownAddress(), None, None]


def test_what_was_used_is_remembered_when_secrets_are_replaced() -> None:
    worker = tokens()
    token = worker.issue(ADDRESS, NOW)
    assert worker.check(token, ADDRESS, NOW)
    assert NewTokens([b"n" * 32, SECRET], seeded(3), worker.used).check(token, ADDRESS, NOW) is None


@pytest.mark.parametrize(
    ("address", "at"),
    [
        (("198.51.100.8", 40001), NOW),
        (ADDRESS, NOW + NEW_TOKEN_LIFETIME_S + 1),
        (ADDRESS, NOW - NEW_TOKEN_LIFETIME_S - 1),
    ],
    ids=["another address", "too old", "from the future"],
)
def test_a_token_that_does_not_fit_counts_as_none(address: tuple[str, int], at: float) -> None:
    assert tokens().check(tokens().issue(ADDRESS, NOW), address, at) is None


def test_tokens_of_other_secrets_and_other_kinds_count_as_none() -> None:
    retry = RetryTokens([SECRET], seeded(1)).issue(ADDRESS, b"original", b"retry source cid", NOW)
    for token in (retry, tokens(b"another secret, ").issue(ADDRESS, NOW), b"", bytes(60)):
        assert tokens().check(token, ADDRESS, NOW) is None
    assert RetryTokens([SECRET], seeded(1)).check(tokens().issue(ADDRESS, NOW), ADDRESS, b"", NOW) is None


def test_a_client_is_the_same_directly_mapped_and_behind_a_load_balancer() -> None:
    token = tokens().issue(("::ffff:198.51.100.7", 40001, 0, 0), NOW)
    assert tokens().check(token, ForwardedPath(*ADDRESS, b"SPP header"), NOW) == KnownAddress()


def test_a_full_memory_takes_nothing_new_until_something_expires() -> None:
    used = SingleUse(lifetime_s=10, capacity=2)
    assert used.take(b"a", 0)
    assert used.take(b"b", 5)
    assert not used.take(b"c", 9)
    assert used.take(b"c", 10)
    assert not used.take(b"b", 11)

from __future__ import annotations

import pytest

from tests.unit.voicelink.quic.harness import NOW, seeded
from voice_gateway.endpoint.admission.address_validation import (
    RETRY_TOKEN_LIFETIME_S,
    RejectedToken,
    RetryTokens,
    ValidToken,
)
from voice_gateway.endpoint.sockets.client_paths import ForwardedPath

ADDRESS = ("198.51.100.7", 40001)
ORIGINAL, RETRY = b"original", b"retry source cid"


def tokens(key: bytes = b"k" * 32, seed: int = 1) -> RetryTokens:
    return RetryTokens([key], seeded(seed))


def test_another_worker_with_the_same_key_accepts_a_token() -> None:
    token = tokens(seed=1).issue(ADDRESS, ORIGINAL, RETRY, NOW)
    assert tokens(seed=2).check(token, ADDRESS, RETRY, NOW + 1) == ValidToken(ORIGINAL, RETRY)


@pytest.mark.parametrize(
    ("address", "cid", "at", "reason"),
    [
        (("198.51.100.8", 40001), RETRY, NOW, "another address"),
        (("198.51.100.7", 40002), RETRY, NOW, "another address"),
        (ADDRESS, b"some other one", NOW, "connection ID"),
        (ADDRESS, RETRY, NOW + RETRY_TOKEN_LIFETIME_S + 1, "older than 30 s"),
        (ADDRESS, RETRY, NOW - RETRY_TOKEN_LIFETIME_S - 1, "older than 30 s"),
    ],
)
def test_a_token_fits_one_address_one_connection_id_and_a_short_time(
    address: tuple[str, int], cid: bytes, at: float, reason: str
) -> None:
    verdict = tokens().check(tokens().issue(ADDRESS, ORIGINAL, RETRY, NOW), address, cid, at)
    assert isinstance(verdict, RejectedToken)
    assert reason in verdict.reason


@pytest.mark.parametrize("token", [b"", b"short", bytes(12), bytes(100)])
def test_bytes_that_are_no_token_of_this_key_count_as_none(token: bytes) -> None:
    assert tokens().check(token, ADDRESS, RETRY, NOW) is None


def test_a_token_under_another_key_counts_as_none() -> None:
    assert tokens().check(tokens(b"another secret, ").issue(ADDRESS, ORIGINAL, RETRY, NOW), ADDRESS, RETRY, NOW) is None


def test_every_truncation_and_every_flipped_byte_counts_as_none() -> None:
    token = tokens().issue(ADDRESS, ORIGINAL, RETRY, NOW)
    for index in range(len(token)):
        flipped = token[:index] + bytes((token[index] ^ 1,)) + token[index + 1 :]
        assert tokens().check(flipped, ADDRESS, RETRY, NOW) is None
        assert tokens().check(token[:index], ADDRESS, RETRY, NOW) is None


def test_a_client_is_the_same_directly_mapped_and_behind_a_load_balancer() -> None:
    token = tokens().issue(("::ffff:198.51.100.7", 40001, 0, 0), ORIGINAL, RETRY, NOW)
    assert tokens().check(token, ForwardedPath(*ADDRESS, b"SPP header"), RETRY, NOW) == ValidToken(ORIGINAL, RETRY)


def test_a_worker_that_has_the_newer_secret_too_accepts_a_token_under_the_older() -> None:
    token = tokens().issue(ADDRESS, ORIGINAL, RETRY, NOW)
    rotated = RetryTokens([b"n" * 32, b"k" * 32], seeded(3))
    assert rotated.check(token, ADDRESS, RETRY, NOW) == ValidToken(ORIGINAL, RETRY)

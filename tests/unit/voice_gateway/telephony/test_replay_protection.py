"""Tokens that open one stream of one call, and webhooks that are answered once."""

from __future__ import annotations

import pytest

from voice_gateway.telephony.replay_protection import (
    REMEMBERED_S,
    RETRY_WINDOW_S,
    STREAM_TOKEN_LIFETIME_S,
    StreamTokens,
    Uses,
    Webhooks,
    use_of,
)

NOW = 1_700_000_000.5
USE = use_of("signature")


def test_a_stream_token_is_good_at_every_worker_of_the_account_for_a_minute() -> None:
    token = StreamTokens("12345").make("CA1", USE, NOW)
    assert StreamTokens("12345").check(token, "CA1", NOW) == USE
    assert StreamTokens("12345").check(token, "CA1", NOW + STREAM_TOKEN_LIFETIME_S - 1) == USE
    assert StreamTokens("12345").check(token, "CA1", NOW + STREAM_TOKEN_LIFETIME_S) is None


def test_a_stream_token_is_for_one_call_of_one_account() -> None:
    token = StreamTokens("12345").make("CA1", USE, NOW)
    assert StreamTokens("12345").check(token, "CA2", NOW) is None
    assert StreamTokens("54321").check(token, "CA1", NOW) is None


@pytest.mark.parametrize(
    "text", ["", "x", "é", "a.1.b", f"{USE}.{'9' * 5000}.{'0' * 64}", f"{USE}.99999999999.{'0' * 64}"]
)
def test_what_is_no_stream_token_is_refused(text: str) -> None:
    assert StreamTokens("12345").check(text, "CA1", NOW) is None


def test_a_stream_token_with_any_character_changed_is_refused() -> None:
    tokens = StreamTokens("12345")
    token = tokens.make("CA1", USE, NOW)
    for index, character in enumerate(token):
        changed = token[:index] + ("1" if character == "0" else "0") + token[index + 1 :]
        assert tokens.check(changed, "CA1", NOW) is None


def test_a_token_fits_into_a_parameter_of_twilio() -> None:
    """Name and value of a `<Parameter>` have at most 500 characters together (Twilio, "TwiML Voice: <Stream>")."""
    assert len(StreamTokens("12345").make("CA" + "0" * 32, USE, NOW)) < 200


def test_a_use_is_taken_once_in_24_hours() -> None:
    uses = Uses()
    assert [uses.take("a", 0.0), uses.take("a", 1.0), uses.take("b", 1.0)] == [True, False, True]
    assert not uses.take("a", REMEMBERED_S - 1)
    assert uses.take("a", REMEMBERED_S)


def test_the_oldest_use_is_forgotten_where_there_are_too_many() -> None:
    uses = Uses(most=2)
    assert all(uses.take(name, 0.0) for name in ("a", "b", "c"))
    assert not uses.take("b", 1.0)
    assert uses.take("a", 1.0)


def test_an_answer_is_given_again_to_a_retry_and_not_to_a_replay() -> None:
    webhooks = Webhooks[str]()
    assert webhooks.is_new("a", 0.0)
    webhooks.answered("a", "token-1", "answer", 0.0)
    assert not webhooks.is_new("a", RETRY_WINDOW_S - 1)
    assert webhooks.repeated("a", "token-1") == "answer"
    assert webhooks.repeated("a", "token-2") is None
    assert not webhooks.is_new("a", RETRY_WINDOW_S)
    assert webhooks.repeated("a", "token-1") is None

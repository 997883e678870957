from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from tests.unit.voice_gateway.access.access_keys import SECRET, pair
from voice_gateway.access.keys import AccessKey, signing_key, verification_key
from voice_gateway.access.tokens import Claims, TokenFault, TokenVerifier, mint

NOW = 1_800_000_000.0
OLD, NEW = verification_key("old", SECRET), verification_key("new", pair()[1])


def verifier(*keys: AccessKey, **changes: Any) -> TokenVerifier:
    return TokenVerifier(keys or (OLD, NEW), **{"audience": "voice", "issuer": None} | changes)


def minted(key: AccessKey | None = None, **changes: Any) -> str:
    options: dict[str, Any] = {"subject": "alice", "now": NOW, "lifetime_s": 60.0, "audience": "voice"} | changes
    return mint(key or signing_key("old", SECRET), **options)


def signed(claims: dict[str, Any], *, key: str = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    """A token such as another issuer's library makes it."""
    return jwt.encode(
        {"sub": "alice", "aud": "voice", "exp": NOW + 60} | claims, key, algorithm, headers=header or None
    )


def cause(token: str, now: float = NOW, **changes: Any) -> str:
    fault = verifier(**changes).verify(token, now)
    assert isinstance(fault, TokenFault), fault
    return fault.cause


@pytest.mark.parametrize(
    "key",
    [signing_key("old", SECRET), signing_key("new", pair()[0]), signing_key("", SECRET)],
    ids=["hs", "es", "bare"],
)
def test_what_was_minted_is_taken(key):
    token = minted(key, origins=["https://shop.example"], agents=["order"])
    expected = Claims("alice", NOW + 60, frozenset({"https://shop.example"}), frozenset({"order"}))
    assert verifier().verify(token, NOW) == expected


def test_a_plain_token_says_nothing_of_origins_and_agents():
    assert verifier().verify(minted(), NOW) == Claims("alice", NOW + 60)


class TestRotation:
    def test_each_key_checks_the_tokens_that_name_it(self):
        both = verifier(OLD, NEW)
        assert isinstance(both.verify(minted(signing_key("old", SECRET)), NOW), Claims)
        assert isinstance(both.verify(minted(signing_key("new", pair()[0])), NOW), Claims)

    def test_a_key_that_is_taken_away_counts_no_more(self):
        assert isinstance(verifier(NEW).verify(minted(signing_key("old", SECRET)), NOW), TokenFault)

    def test_a_token_that_names_another_key_than_it_was_signed_with_is_refused(self):
        assert cause(minted(signing_key("new", SECRET))) == "signature"
        assert cause(minted(signing_key("gone", SECRET))) == "signature"


class TestLifetime:
    """No token is taken that is good for longer than `max_lifetime_s`, a day unless something else is said."""

    DAY = 86_400

    def test_a_token_for_a_day_is_taken_and_one_for_longer_is_not(self):
        assert isinstance(verifier().verify(minted(lifetime_s=self.DAY), NOW), Claims)
        assert cause(minted(lifetime_s=self.DAY + 1)) == "lifetime"

    def test_the_reason_names_the_limit(self):
        fault = verifier(max_lifetime_s=900.0).verify(minted(lifetime_s=901.0), NOW)
        assert fault == TokenFault("lifetime", "is good for longer than 900 s")

    def test_a_long_token_is_refused_in_its_last_second_too(self):
        assert cause(minted(lifetime_s=self.DAY * 30), NOW + self.DAY * 30 - 1) == "lifetime"

    def test_a_token_that_begins_later_is_measured_from_there(self):
        token = minted(lifetime_s=self.DAY, starts_in_s=3600.0)
        assert isinstance(verifier().verify(token, NOW + 3600), Claims)
        assert cause(minted(lifetime_s=self.DAY + 1, starts_in_s=3600.0), NOW + 3600) == "lifetime"

    @pytest.mark.parametrize("claims", [{}, {"nbf": 0}, {"nbf": NOW}])
    def test_without_iat_the_rest_of_the_lifetime_counts(self, claims):
        """RFC 7519 section 4.1.6: `iat` is optional."""
        assert isinstance(verifier().verify(signed(claims | {"exp": NOW + self.DAY}), NOW), Claims)
        assert cause(signed(claims | {"exp": NOW + self.DAY + 1})) == "lifetime"

    def test_a_token_issued_in_the_future_is_not_valid_yet(self):
        claims = {"iat": NOW + self.DAY * 365, "exp": NOW + self.DAY * 365 + 60}
        assert cause(signed(claims)) == "not_yet_valid"
        assert isinstance(verifier(leeway_s=10.0).verify(signed({"iat": NOW + 9}), NOW), Claims)

    @pytest.mark.parametrize("iat", [float("nan"), float("inf"), float("-inf"), -1e300, "now", True])
    def test_an_odd_iat_lengthens_nothing(self, iat):
        assert cause(signed({"iat": iat, "exp": NOW + self.DAY * 2})) in ("claims", "lifetime", "not_yet_valid")

    def test_clocks_may_differ(self):
        assert isinstance(verifier(leeway_s=10.0).verify(minted(lifetime_s=self.DAY + 10), NOW), Claims)


class TestTime:
    def test_it_ends_at_its_second(self):
        token = minted()
        assert isinstance(verifier().verify(token, NOW + 59.9), Claims)
        assert cause(token, NOW + 60) == "expired"

    def test_it_begins_at_its_second(self):
        token = minted(starts_in_s=30.0)
        assert cause(token, NOW + 29) == "not_yet_valid"
        assert isinstance(verifier().verify(token, NOW + 30), Claims)
        assert isinstance(verifier().verify(token, NOW + 89), Claims)

    def test_clocks_may_differ_a_little(self):
        token = minted(starts_in_s=30.0)
        assert isinstance(verifier(leeway_s=10).verify(token, NOW + 20), Claims)
        assert isinstance(verifier(leeway_s=10).verify(token, NOW + 99), Claims)
        assert cause(token, NOW + 100, leeway_s=10) == "expired"

    @pytest.mark.parametrize("exp", [float("inf"), float("nan")])
    def test_none_is_good_for_ever(self, exp):
        assert cause(signed({"exp": exp})) in {"expired", "malformed", "claims"}


class TestClaims:
    @pytest.mark.parametrize(
        ("claims", "expected"),
        [
            ({"aud": "other"}, "audience"),
            ({"aud": ["other", "another"]}, "audience"),
            ({"aud": []}, "audience"),
            ({"sub": ""}, "claims"),
            ({"sub": "x" * 256}, "claims"),
            ({"exp": "tomorrow"}, "claims"),
            ({"exp": None}, "claims"),
            ({"exp": True}, "claims"),
            ({"nbf": "now"}, "claims"),
            ({"agents": "order"}, "claims"),
            ({"origins": [1]}, "claims"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, claims, expected):
        assert cause(signed(claims)) == expected

    @pytest.mark.parametrize("name", ["sub", "aud", "exp"])
    def test_what_is_needed_is_needed(self, name):
        claims = {"sub": "alice", "aud": "voice", "exp": NOW + 60}
        del claims[name]
        assert cause(jwt.encode(claims, SECRET, "HS256")) == "claims"

    def test_one_of_several_audiences_is_enough(self):
        assert isinstance(verifier().verify(signed({"aud": ["other", "voice"]}), NOW), Claims)

    def test_the_issuer_counts_where_one_is_expected(self):
        assert cause(signed({}), issuer="https://shop.example") == "issuer"
        assert cause(signed({"iss": "https://evil.example"}), issuer="https://shop.example") == "issuer"
        token = minted(issuer="https://shop.example")
        assert isinstance(verifier(issuer="https://shop.example").verify(token, NOW), Claims)

    def test_an_empty_list_of_agents_allows_none(self):
        assert verifier().verify(signed({"agents": []}), NOW) == Claims("alice", NOW + 60, None, frozenset())


class TestForgery:
    def test_without_a_signature(self):
        assert cause(jwt.encode({"sub": "alice", "aud": "voice", "exp": NOW + 60}, "", "none")) != ""

    def test_with_a_public_key_as_secret(self):
        """The classic confusion of algorithms: what is public signs nothing."""
        body = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
            for part in ({"alg": "HS256", "kid": "new"}, {"sub": "alice", "aud": "voice", "exp": NOW + 60})
        )
        algorithm = jwt.get_algorithm_by_name("HS256")
        signature = algorithm.sign(body.encode(), pair()[1].encode())
        assert cause(f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}") == "signature"

    def test_with_another_key_of_the_right_name(self):
        assert cause(minted(signing_key("new", pair("foreign")[0]))) == "signature"
        assert cause(signed({}, key="another secret of more than 32 bytes")) == "signature"

    def test_with_a_changed_claim(self):
        head, _, signature = minted().split(".")
        claims = base64.urlsafe_b64encode(json.dumps({"sub": "bob", "aud": "voice", "exp": NOW + 60}).encode())
        assert cause(f"{head}.{claims.rstrip(b'=').decode()}.{signature}") == "signature"

    def test_with_a_demand_that_is_not_understood(self):
        assert cause(signed({}, crit=["strict"], strict=True)) == "malformed"

    @pytest.mark.parametrize("token", ["", "sesame", "a.b.c", "..", "é.é.é", "\ud800", "a" * 5000, "." * 4096])
    def test_with_garbage(self, token):
        assert cause(token) == "malformed"

    def test_with_a_header_of_nothing_but_brackets(self):
        header = base64.urlsafe_b64encode(b"[" * 3000).decode()
        assert cause(f"{header}.e30.e30") == "malformed"

from __future__ import annotations

import pytest

from tests.unit.voice_gateway.access.access_keys import SECRET
from voice_gateway.access.gate import Denial, Gate, Grant
from voice_gateway.access.keys import signing_key, verification_key
from voice_gateway.access.tokens import TokenVerifier, mint

NOW = 1_800_000_000.0
SHOP, EVIL = "https://shop.example", "https://evil.example"
VERIFIER = TokenVerifier([verification_key("k", SECRET)], audience="voice", issuer=None)


def token(**changes) -> str:
    return mint(signing_key("k", SECRET), subject="alice", now=NOW, lifetime_s=60, audience="voice", **changes)


def denied(gate: Gate, token: str | None, origin: str | None = None, now: float = NOW) -> tuple[int, str]:
    answer = gate.admit(token, origin, "order", now)
    assert isinstance(answer, Denial)
    return answer.status, answer.cause


def test_without_any_key_everybody_may_come_in():
    gate = Gate()
    assert gate.is_open
    assert gate.admit(None, EVIL, "order", NOW) == gate.admit("any token", None, "order", NOW) == Grant()


class TestSharedToken:
    @pytest.mark.parametrize("offered", ["", "wrong", "sesam\ud800", "sésame"])
    def test_another_is_wrong(self, offered):
        assert denied(Gate("sesame"), offered) == (401, "token_wrong")

    def test_it_is_needed_and_enough(self):
        assert denied(Gate("sesame"), None) == (401, "token_missing")
        assert Gate("sesame").admit("sesame", None, "order", NOW) == Grant()

    def test_it_stays_good_beside_keys(self):
        gate = Gate("sesame", VERIFIER)
        assert gate.admit("sesame", None, "order", NOW) == Grant()
        assert gate.admit(token(), None, "order", NOW) == Grant("alice")

    def test_it_is_not_shown(self):
        assert "sesame" not in repr(Gate("sesame"))


class TestSignedToken:
    GATE = Gate(verifier=VERIFIER)

    def test_names_its_subject(self):
        assert self.GATE.admit(token(), None, "order", NOW) == Grant("alice")

    def test_ends(self):
        assert denied(self.GATE, token(), now=NOW + 60) == (401, "token_expired")
        assert denied(self.GATE, None) == (401, "token_missing")
        assert denied(self.GATE, "sesame") == (401, "token_malformed")

    def test_may_be_for_some_agents(self):
        assert denied(self.GATE, token(agents=["florist"])) == (403, "agent")
        assert self.GATE.admit(token(agents=["florist", "order"]), None, "order", NOW) == Grant("alice")

    def test_may_be_for_some_origins(self):
        assert denied(self.GATE, token(origins=[SHOP]), EVIL) == (403, "origin")
        assert self.GATE.admit(token(origins=[SHOP]), SHOP, "order", NOW) == Grant("alice")

    def test_opens_no_origin_that_the_worker_closes(self):
        gate = Gate(verifier=VERIFIER, origins=frozenset({SHOP}))
        assert denied(gate, token(origins=[EVIL]), EVIL) == (403, "origin")
        assert denied(gate, token(origins=[EVIL]), SHOP) == (403, "origin")
        assert gate.admit(token(), SHOP, "order", NOW) == Grant("alice")


def test_who_is_no_page_has_no_origin():
    gate = Gate(origins=frozenset({SHOP}))
    assert gate.admit(None, None, "order", NOW) == Grant()
    assert denied(gate, None, "null") == (403, "origin")

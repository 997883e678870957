from __future__ import annotations

from quiclb import CidEncoder, QuicLbConfig
from tests.unit.voicelink.quic.harness import seeded
from voice_gateway.endpoint.cids.issuers import CidIssuer, UnroutableIssuer

KEY = b"k" * 16


def issuer(
    server_id: bytes = b"\0\1",
    *,
    config_id: int = 0,
    key: bytes | None = KEY,
    nonce: int = 14,
    reset: bytes = b"r" * 32,
) -> CidIssuer:
    config = QuicLbConfig(config_id, len(server_id), 14, key=key)
    return CidIssuer(CidEncoder(config, server_id, rng=seeded(1)), reset, seeded(2))


def test_a_server_owns_its_connection_ids_and_not_those_of_another() -> None:
    mine, other = issuer(b"\0\1"), issuer(b"\0\2")
    assert mine.owns(mine.issue())
    assert not mine.owns(other.issue())


def test_connection_ids_of_another_config_too_short_or_unroutable_are_not_owned() -> None:
    mine = issuer()
    assert not mine.owns(issuer(config_id=1).issue())
    assert not mine.owns(mine.issue()[:10])
    assert not mine.owns(b"")
    assert not mine.owns(UnroutableIssuer(17, b"r" * 32, seeded(3)).issue())


def test_reset_tokens_are_the_same_on_every_server_with_the_key_and_differ_between_connection_ids() -> None:
    first, second = issuer(b"\0\1"), issuer(b"\0\2")
    cid, another = first.issue(), first.issue()
    assert first.reset_token(cid) == second.reset_token(cid)
    assert first.reset_token(cid) != first.reset_token(another)
    assert len(first.reset_token(cid)) == 16


def test_each_config_codepoint_has_its_own_reset_key() -> None:
    cid = issuer().issue()
    assert issuer(config_id=0).reset_token(cid) != issuer(config_id=1).reset_token(cid)
    assert issuer().reset_token(cid) != issuer(reset=b"s" * 32).reset_token(cid)


def test_without_a_key_a_connection_gets_no_spare_connection_ids() -> None:
    assert issuer(key=None).active_limit == 1
    assert issuer().active_limit == 4


def test_when_nonces_are_exhausted_connection_ids_are_unroutable_and_of_the_same_length() -> None:
    class OneNonce:
        def __init__(self) -> None:
            self.left = [bytes(14)]

        def next(self) -> bytes:
            from quiclb import NonceExhaustedError

            if not self.left:
                raise NonceExhaustedError("none left")
            return self.left.pop()

    config = QuicLbConfig(2, 2, 14, key=KEY)
    mine = CidIssuer(CidEncoder(config, b"\0\1", rng=seeded(1), nonces=OneNonce()), b"r" * 32, seeded(2))
    routable = mine.issue()
    assert (mine.active_limit, mine.is_migration_disabled) == (4, False)
    unroutable = mine.issue()
    assert (mine.active_limit, mine.is_migration_disabled) == (1, True)
    assert (routable[0] >> 5, unroutable[0] >> 5) == (2, 7)
    assert len(routable) == len(unroutable) == mine.length_bytes


def test_unroutable_connection_ids_encode_their_length_under_the_reserved_codepoint() -> None:
    source = UnroutableIssuer(17, b"r" * 32, seeded(3))
    first, second = source.issue(), source.issue()
    assert first[0] == second[0] == 0b111_10000
    assert first != second
    assert source.is_migration_disabled
    assert not source.owns(first)

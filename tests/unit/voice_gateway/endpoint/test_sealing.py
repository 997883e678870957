from __future__ import annotations

from itertools import pairwise

import pytest

from tests.unit.voicelink.quic.harness import NOW, seeded
from voice_gateway.endpoint.sealing import PERIOD_S, SealingKeys

OLD, NEW = b"o" * 16, b"n" * 32


def keys(*secrets: bytes, purpose: bytes = b"test", seed: int = 1) -> SealingKeys:
    return SealingKeys(secrets, purpose, seeded(seed))


def test_another_worker_with_the_same_secret_opens_what_was_sealed() -> None:
    assert keys(OLD, seed=2).open(keys(OLD, seed=1).seal(b"plain", NOW), NOW + 1) == b"plain"


@pytest.mark.parametrize(
    "others", [keys(NEW), keys(OLD, purpose=b"another"), keys()], ids=["secret", "purpose", "drawn"]
)
def test_another_secret_or_purpose_opens_nothing(others: SealingKeys) -> None:
    assert others.open(keys(OLD).seal(b"plain", NOW), NOW) is None


def test_a_secret_is_replaced_while_each_worker_is_a_step_ahead_or_behind() -> None:
    stages = [keys(OLD), keys(OLD, NEW), keys(NEW, OLD)]
    for one, other in pairwise(stages):
        assert other.open(one.seal(b"plain", NOW), NOW) == b"plain"
        assert one.open(other.seal(b"plain", NOW), NOW) == b"plain"
    assert keys(NEW).open(stages[2].seal(b"plain", NOW), NOW) == b"plain"
    assert keys(NEW).open(stages[1].seal(b"plain", NOW), NOW) is None


def test_keys_change_by_themselves_and_open_for_one_more_period() -> None:
    begin = PERIOD_S * 20_000
    sealer, opener = keys(OLD, seed=1), keys(OLD, seed=2)
    first, second = sealer.seal(b"plain", begin), sealer.seal(b"plain", begin + PERIOD_S)
    assert first[:4] != second[:4]
    assert opener.open(first, begin + PERIOD_S) == b"plain"
    assert opener.open(first, begin + 2 * PERIOD_S) is None


def test_a_worker_whose_clock_is_behind_opens_what_the_next_period_sealed() -> None:
    begin = PERIOD_S * 20_000
    assert keys(OLD, seed=2).open(keys(OLD).seal(b"plain", begin), begin - 60) == b"plain"


def test_every_truncation_and_every_flipped_byte_opens_nothing() -> None:
    sealed = keys(OLD).seal(b"plain", NOW)
    for index in range(len(sealed)):
        flipped = sealed[:index] + bytes((sealed[index] ^ 1,)) + sealed[index + 1 :]
        assert keys(OLD).open(flipped, NOW) is None
        assert keys(OLD).open(sealed[:index], NOW) is None


@pytest.mark.parametrize("length", [0, 15, 65])
def test_a_secret_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"16 to 64 bytes, got {length}"):
        keys(bytes(length))

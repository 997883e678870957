"""The committed corpus, in the ordinary suite and without atheris."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tests.fuzz.forwarding_target import check, datapaths
from tests.fuzz.make_corpus import CORPUS, inputs


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_every_input_is_dealt_with_alike_by_all_routers(path):
    check(path.read_bytes())


def test_the_corpus_is_what_its_maker_makes():
    assert {path.name for path in CORPUS.iterdir()} == {sha256(data).hexdigest()[:16] for data in inputs()}


def test_the_target_sees_a_router_that_disagrees():
    [data] = [data for data in inputs() if data == b"\0"]
    check(data)
    _, other, _ = datapaths(0)
    other.counters.packets["drop", "made-up"] += 1
    try:
        with pytest.raises(AssertionError):
            check(data)
    finally:
        datapaths.cache_clear()

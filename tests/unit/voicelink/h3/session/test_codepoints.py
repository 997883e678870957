from __future__ import annotations

import pytest

from voicelink.h3.session.codepoints import from_http_code, to_http_code


@pytest.mark.parametrize(
    ("code", "http_code"),
    [(0, 0x52E4A40FA8DB), (29, 0x52E4A40FA8F8), (30, 0x52E4A40FA8FA), (0xFFFFFFFF, 0x52E5AC983162)],
)
def test_codes_map_as_the_draft_says_and_back(code: int, http_code: int) -> None:
    assert to_http_code(code) == http_code
    assert from_http_code(http_code) == code


def test_every_small_code_survives_the_way_there_and_back() -> None:
    assert [from_http_code(to_http_code(code)) for code in range(1000)] == list(range(1000))


@pytest.mark.parametrize("http_code", [0, 0x10C, 0x52E4A40FA8DA, 0x52E5AC983163, 0x52E4A40FA8F9])
def test_other_codes_and_the_reserved_ones_between_are_not_the_applications(http_code: int) -> None:
    assert from_http_code(http_code) is None


@pytest.mark.parametrize("code", [-1, 1 << 32])
def test_a_code_out_of_range_is_the_callers_mistake(code: int) -> None:
    with pytest.raises(ValueError, match=r"0 to 2\^32-1"):
        to_http_code(code)

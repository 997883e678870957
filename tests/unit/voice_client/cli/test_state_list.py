"""Any agent's state as an indented list."""

from __future__ import annotations

import pytest

from voice_client.cli.state_list import state_list


def lines(state: dict[str, object], before: dict[str, object] | None = None) -> list[str]:
    return state_list(state, before).plain.splitlines()


def test_nested_maps_and_lists_are_indented() -> None:
    state: dict[str, object] = {
        "film": "Metropolis",
        "seats": [{"row": 4, "seat": "C"}, {"row": 4, "seat": "D", "extras": ["cushion", "3D"]}],
        "grid": [[1, 2], [3]],
        "paid": {"amount": 9.5, "by": None, "ok": True},
        "notes": [],
    }
    assert lines(state) == [
        "  film: Metropolis",
        "  seats:",
        "    - row: 4",
        "      seat: C",
        "    - row: 4",
        "      seat: D",
        "      extras:",
        "        - cushion",
        "        - 3D",
        "  grid:",
        "    - - 1",
        "      - 2",
        "    - - 3",
        "  paid:",
        "    amount: 9.5",
        "    by: null",
        "    ok: true",
        "  notes: []",
    ]


@pytest.mark.parametrize(
    ("after", "marked"),
    [
        ({"a": 1, "b": [1, 2]}, ["  a: 1", "  b:", "    - 1", "    - 2"]),
        ({"a": 2, "b": [1, 2]}, ["~ a: 2", "  b:", "    - 1", "    - 2"]),
        ({"a": 1, "b": [1, 5, 2]}, ["  a: 1", "  b:", "    - 1", "+   - 5", "    - 2"]),
        ({"a": 1, "b": [2]}, ["  a: 1", "  b:", "    - 2"]),
    ],
)
def test_lines_that_are_new_or_changed_are_marked(after: dict[str, object], marked: list[str]) -> None:
    assert lines(after, {"a": 1, "b": [1, 2]}) == marked


def test_an_empty_state_has_no_lines() -> None:
    assert lines({}) == []


def test_text_cannot_control_the_terminal() -> None:
    assert lines({"a": "\x1b[2J\nb", "c\x07": "d"}) == ['  a: "\\u001b[2J\\nb"', '  "c\\u0007": d']

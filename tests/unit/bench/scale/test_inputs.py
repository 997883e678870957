"""Figures and assumptions from files, and what is said of a file that lacks something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.scale.inputs import InputError, load_assumptions, load_figures, measured_capacity


def test_every_figure_says_what_it_is_and_which_command_measures_it() -> None:
    for name, figure in load_figures().all.items():
        assert figure.value > 0, name
        assert len(figure.unit) > 5, name
        assert figure.command.startswith(("make ", "python -m ")), name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a]\nvalue = 1\nunit = 'ms'", "needs the keys value, unit and command"),
        ("[a]\nvalue = 0\nunit = 'ms'\ncommand = 'make x'", "a.value must be a number above 0, got 0"),
        ("a = 3", "needs the keys"),
    ],
)
def test_a_figure_that_lacks_something_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "figures.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        load_figures(path)


def test_an_assumption_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[calls]\nminutes = 3.0\n")
    with pytest.raises(InputError, match=r"\[calls\] lacks talk_s, turns_per_minute; copy it"):
        load_assumptions(path)


def _window(sessions: int, cpu_s: float) -> dict[str, object]:
    return {"cpu_s": cpu_s, "callers": {"seconds": 10.0, "sessions": sessions}}


def test_a_newer_result_of_the_capacity_benchmark_replaces_its_figures(tmp_path: Path) -> None:
    level = {"sessions": 148, "fault": None, "window": _window(148, 8.0)}
    survey = {
        "server": {"has_echo": False},
        "ramp": {"levels": [level, level | {"sessions": 200, "fault": "late"}]},
        "silence": _window(16, 0.16),
        "handshakes": {"cpu_s": 2.0, "callers": {"completed": 1000}},
    }
    found = {
        "windows": [[_window(16, 0.9), _window(16, 1.0), _window(16, 1.1)]],
        "surveys": [survey | {"ramp": None}, survey],
        "memory": [[20, 100_000_000], [120, 120_000_000]],
        "pair": None,
    }
    path = tmp_path / "capacity.json"
    path.write_text(json.dumps({"findings": found}))
    figures = load_figures().with_measured(path)
    assert figures["session_cpu_ms_at_16"] == pytest.approx(6.25)
    assert figures["session_cpu_ms_at_150"] == pytest.approx(1000 * 0.8 / 148)
    assert figures["sessions_carried"] == 148
    assert figures["handshakes_per_cpu_s"] == 500
    assert figures["session_kilobytes"] == 200
    assert figures["neighbour_factor"] == load_figures()["neighbour_factor"]


def test_a_result_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; `make bench-capacity` writes it"):
        measured_capacity(tmp_path / "capacity.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match="is no result of `make bench-capacity`"):
        measured_capacity(tmp_path / "other.json")

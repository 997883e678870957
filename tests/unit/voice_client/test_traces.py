"""The Python client's parts give the outputs of the recorded traces, as the browser's do (`traces.test.ts`)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vectors.traces.generate import FOLDER, text, traces
from tests.vectors.traces.players import PLAYERS

RECORDED = {part: json.loads((FOLDER / f"{part}.json").read_text()) for part in PLAYERS}


@pytest.mark.parametrize(
    ("part", "trace"),
    [pytest.param(part, trace, id=f"{part}: {trace['what']}") for part, of in RECORDED.items() for trace in of],
)
def test_a_recorded_trace_gives_its_outputs(part: str, trace: dict[str, Any]) -> None:
    assert PLAYERS[part](trace) == trace["outputs"]


@pytest.mark.parametrize("part", PLAYERS)
def test_the_recorded_traces_are_current(part: str) -> None:
    assert (FOLDER / f"{part}.json").read_text() == text(traces()[part])

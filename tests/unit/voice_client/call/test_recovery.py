"""Recovery of a call; its times and outcomes are in the recorded traces (`test_traces.py`)."""

from __future__ import annotations

import json
import logging

import pytest

from tests.vectors.traces.generate import FOLDER
from tests.vectors.traces.players import play_recovery

TRACES = {trace["what"]: trace for trace in json.loads((FOLDER / "recovery.json").read_text())}


@pytest.mark.parametrize(
    ("trace", "changes"),
    [
        ("a silent connection is replaced", ["call_interrupted", "redial_attempt", "call_resumed"]),
        ("a pause shorter than the limit changes nothing", []),
        ("the token is refused: ended at once", ["call_interrupted", "redial_attempt"]),
    ],
)
def test_each_change_of_recovery_is_logged_once(
    trace: str, changes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "voice_client")
    play_recovery(TRACES[trace])
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("voice_client")]
    assert [line.partition(" ")[0] for line in logged] == changes

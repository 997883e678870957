"""The first call of a worker imports nothing of its framework: that would hold up the other calls' audio."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["pipecat", "livekit"])
def test_a_first_call_imports_nothing_of_the_framework(name: str) -> None:
    command = [sys.executable, "-m", "tests.agents.support.first_call", name]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=150, cwd=ROOT)
    found = json.loads(result.stdout.splitlines()[-1])
    assert any("brown sugar milk tea" in line for line in found["said"]), "a whole turn was answered, with its tool"
    assert [module for module in found["late"] if module.split(".")[0] in ("pipecat", "livekit")] == []
    assert len(found["late"]) < 10

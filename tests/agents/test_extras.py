"""The core does without the packages of other frameworks and vendors, also where they are installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.agents.conftest import EXTRAS

CORE = ("voice_gateway.cli.main", "voice_gateway.worker", "voice_gateway.agent.call", "voice_client")
IMPORTED = "import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


@pytest.mark.parametrize("module", CORE)
def test_importing_the_core_imports_no_extra(module: str) -> None:
    code = IMPORTED.format(module=module)
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(imported.stdout.split()) & set(EXTRAS) == set()


def test_the_check_sees_an_extra() -> None:
    code = IMPORTED.format(module="openai")
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "openai" in imported.stdout.split()

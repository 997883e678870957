"""The programs and packages that check what is deployed; `make test` installs them."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def tool(name: str) -> str:
    """Return the path of a program; where there is none, the test is left out, or fails under STRICT=1."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if path is None:
        _leave_out(name)
    return path


def module(name: str) -> ModuleType:
    """Return a module of the lock `deploy`; where there is none, as for `tool`."""
    try:
        return importlib.import_module(name)
    except ImportError:
        _leave_out(name)


def _leave_out(name: str) -> NoReturn:
    if os.environ.get("STRICT") == "1":
        pytest.fail(f"{name} is not installed: make test installs it")
    pytest.skip(f"{name} is not installed: make test installs it")


def run(*command: str | Path, cwd: Path = ROOT, status: int = 0) -> tuple[str, str]:
    """Run a program to its end and return what it wrote to standard output and standard error."""
    done = subprocess.run([str(each) for each in command], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout, done.stderr

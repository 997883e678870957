"""Installs a package from outside the tree, as its author's users would, and runs its author's tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def install_and_check(name: str, folder: Path) -> str:
    """Install `tests/trials/NAME` into `folder`, run its `check_NAME.py` from there and return pytest's output."""
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--no-index", "--target", site, HERE / name],
        check=True,
        timeout=180,
    )
    checks = folder / f"test_{name}.py"
    checks.write_text((HERE / name / f"check_{name}.py").read_text())
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", checks],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout

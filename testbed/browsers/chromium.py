"""How Chromium is started: its arguments, and a script that is Chromium in a network namespace."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


@contextmanager
def wrapped(executable: str, namespace: str) -> Iterator[str]:
    """A script that is Chromium in a network namespace."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "chromium"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {namespace} {executable} "$@"\n')
        script.chmod(0o755)
        yield str(script)

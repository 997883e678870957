"""The command `quiclb`, for which the extra `daemon` is needed."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; say what to install where the library alone is there."""
    try:
        from quiclb.cli.main import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "quiclb":
            raise
        sys.exit(f"quiclb: the command needs {error.name}: pip install 'quiclb[daemon]'")
    run()

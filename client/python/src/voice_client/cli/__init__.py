"""The command `voice-client`, for which the extra `cli` is needed."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; say what to install where the library alone is there."""
    try:
        from voice_client.cli.main import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "voice_client":
            raise
        sys.exit(f"voice-client: the command needs {error.name}: pip install 'voice-client[cli]'")
    run()

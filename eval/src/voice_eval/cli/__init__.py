"""The command `voice-eval`."""

from voice_eval.cli.main import main

__all__ = ["main"]

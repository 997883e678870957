"""These tests run in `.venv-agents`, which has the extras that the rest of the project does without (`make agents`)."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = ("pipecat", "livekit", "openai", "deepgram", "elevenlabs", "google")

if any(find_spec(each) is None for each in EXTRAS):
    collect_ignore_glob = ["test_*.py", "*/test_*.py"]

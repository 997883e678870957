"""The interpreter that has the frameworks installed, what is missing in it, and their versions."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

VENV: Final = Path(__file__).parents[3] / ".venv-agents"
PYTHON: Final = VENV / "bin" / "python"
LIVEKIT_SERVER: Final = VENV / "bin" / "livekit-server"
PACKAGES: Final[dict[str, tuple[str, ...]]] = {
    "moq": ("pipecat-ai", "moq-rs"),
    "smallwebrtc": ("pipecat-ai", "aiortc", "fastapi", "uvicorn"),
    "livekit": ("livekit", "livekit-api"),
}
"""By kind of way, the packages that its two programs need; the first are shown as its version."""
_PREPARE: Final = "make .venv-agents/.league"
_PREPARE_LIVEKIT: Final = "make .venv-agents/bin/livekit-server"
_SHOWN: Final = {"moq": 2, "smallwebrtc": 2, "livekit": 1}
_VERSIONS: Final = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def missing(kind: str, python: Path = PYTHON, livekit_server: Path = LIVEKIT_SERVER) -> str | None:
    """Why ways of this kind cannot run here, and the command that prepares them; `None` where they can."""
    if not python.exists():
        return f"{python.parents[1].name} is missing: {_PREPARE}"
    found = installed(PACKAGES[kind], python)
    if absent := [name for name in PACKAGES[kind] if name not in found]:
        return f"{python.parents[1].name} has no {' and no '.join(absent)}: {_PREPARE}"
    if kind == "livekit" and not livekit_server.exists():
        return f"there is no LiveKit server: {_PREPARE_LIVEKIT}"
    return None


def version(kind: str) -> str:
    """The versions of the framework and of what carries its media, such as "pipecat-ai 1.14.0, aiortc 1.16.0"."""
    found = installed(PACKAGES[kind], PYTHON)
    shown = [f"{name} {found[name]}" for name in PACKAGES[kind][: _SHOWN[kind]]]
    if kind == "livekit":
        printed = subprocess.run([LIVEKIT_SERVER, "--version"], capture_output=True, text=True, check=False).stdout
        shown.insert(0, printed.strip().replace(" version", ""))
    return ", ".join(shown)


@functools.cache
def installed(names: Sequence[str], python: Path) -> dict[str, str]:
    """The versions of those packages that this interpreter has."""
    done = subprocess.run([python, "-c", _VERSIONS, *names], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found

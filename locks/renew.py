"""Write `locks/*.lock`: the version and the hashes of every package that the Makefile installs, for all platforms.

`make lock` keeps the versions where pyproject.toml still allows them, `make lock UPGRADE=1` takes the newest. uv asks
the registry that pip is configured for; no file names one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COMPONENTS = ("quiclb", "link", "gateway", "client/python", "eval")
SETUP = "setup"
AGENTS = "agents"
IMAGE = "image"
NOT_SERVED = "voice-eval"
"""The component that no image has."""
WHOLE = (SETUP, AGENTS)
EXCLUDED = "excluded.txt"
_SETUP_EXTRAS = (
    *("agent", "bench", "cli", "daemon", "dev", "gateway", "otel"),
    *("pytest", "recording-storage", "redis", "speech", "vad"),
)
LOCKS = {
    SETUP: _SETUP_EXTRAS,
    AGENTS: (*_SETUP_EXTRAS, "livekit", "openai", "pipecat", "vendors"),
    "browser": ("browser",),
    "deploy": ("deploy",),
    "docs": ("docs",),
    "fuzz": ("fuzz",),
    IMAGE: ("agent", "daemon", "otel", "redis", "speech", "vad"),
    "league": ("league", "smallwebrtc"),
    "lock": ("lock",),
    "microphone": ("microphone",),
    "peers": ("peers",),
    "transports": ("moq", "transports"),
    "whisper": ("whisper",),
}
"""Which extras a lock holds. Those of `WHOLE` are environments of their own: they also hold what the components
themselves need, and their build tool. So does `IMAGE`, for container images, in the versions of `SETUP`."""


BESIDE = {"league": AGENTS}
"""Which lock's versions another keeps, where it is not `SETUP`: both are installed in one environment."""


def documents() -> list[dict[str, Any]]:
    """Return the components' pyproject.toml and the workspace's own."""
    return [tomllib.loads((ROOT / each / "pyproject.toml").read_text()) for each in (*COMPONENTS, ".")]


def requirements(name: str) -> list[str]:
    """Return what the components and the workspace ask for on behalf of a lock; not the components themselves."""
    found = [each for each in documents() if name != IMAGE or each["project"]["name"] != NOT_SERVED]
    own = {each["project"]["name"] for each in found}
    asked = [line for each in found for extra in LOCKS[name] for line in _extra(each, extra)]
    if name in (*WHOLE, IMAGE):
        asked += [line for each in found for line in each["project"].get("dependencies", ())]
        asked += [line for each in found for line in each["build-system"]["requires"]]
    return sorted({line for line in asked if re.split(r"[\[=<>~! ]", line)[0] not in own})


def _extra(document: dict[str, Any], extra: str) -> list[str]:
    lines: list[str] = document["project"].get("optional-dependencies", {}).get(extra, [])
    return lines


def renew(name: str, *, is_upgrade: bool) -> None:
    """Write one lock; those of extras agree with that of `setup`."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "-", "--quiet", "--no-annotate"]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--custom-compile-command", "make lock"]
    command += ["--output-file", f"locks/{name}.lock"]
    command += [] if name in WHOLE else ["--constraints", f"locks/{BESIDE.get(name, SETUP)}.lock"]
    command += ["--excludes", f"locks/{EXCLUDED}"]
    command += ["--upgrade"] if is_upgrade else []
    lock = ROOT / f"locks/{name}.lock"
    before, times = lock.read_text() if lock.exists() else None, lock.stat() if lock.exists() else None
    subprocess.run(command, input="\n".join(requirements(name)), text=True, cwd=ROOT, env=_environment(), check=True)
    if times is not None and lock.read_text() == before:
        os.utime(lock, ns=(times.st_atime_ns, times.st_mtime_ns))  # make would install all of it again


def _environment() -> dict[str, str]:
    """Lead uv to pip's registry and certificates."""
    environment = dict(os.environ)
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    index = os.environ.get("PIP_INDEX_URL") or subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    for name, value in (("UV_DEFAULT_INDEX", index), ("SSL_CERT_FILE", os.environ.get("PIP_CERT", ""))):
        if value:
            environment.setdefault(name, value)
    return environment


if __name__ == "__main__":
    for lock in LOCKS:
        renew(lock, is_upgrade="--upgrade" in sys.argv)

"""What is compared: the order agent behind each transport that is installed, and how it is called."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

from voice_eval.drivers.base import Driver, Endpoint, load_driver
from voice_eval.targets.base import Target
from voice_eval.targets.cluster import ClusterPlan, ClusterTarget
from voice_eval.targets.livekit import PROGRAM as LIVEKIT_PROGRAM
from voice_eval.targets.livekit import LiveKitTarget, find_livekit
from voice_eval.targets.program import ProgramTarget

_BOT: Final = f"{sys.executable} -m bench.league.pipecat_bot {{port}}"
_LIVEKIT_BOT: Final = f"{sys.executable} -m bench.league.livekit_bot {{port}}"


@dataclass(frozen=True, slots=True)
class Implementation:
    """A transport; `fault` is what is killed with SIGKILL: the process that has the call."""

    name: str
    driver: str
    fault: str
    target: Callable[[], Target]
    package: str
    modules: tuple[str, ...]
    most_at_once: int = 100
    """How many calls two cores carry, callers included, without a caller being late itself."""
    program: str | None = None

    @property
    def missing(self) -> str | None:
        """What it needs and is not installed."""
        modules = (each for each in self.modules if find_spec(each) is None)
        program = self.program if self.program and find_livekit() is None else None
        return next(modules, program)

    @property
    def version(self) -> str:
        try:
            shown = f"{self.package} {version(self.package)}"
        except PackageNotFoundError:
            shown = self.package
        return shown if self.program is None else f"{shown}, {_program_version(self.program)}"

    def driver_class(self) -> type[Driver]:
        return load_driver(self.driver)


def _program_version(name: str) -> str:
    path = find_livekit()
    if path is None:
        return name
    printed = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    return printed.strip().replace(" version", "") or name


def _bot(url: str) -> Callable[[], Target]:
    return lambda: ProgramTarget(_BOT, Endpoint(url))


IMPLEMENTATIONS: Final = (
    Implementation(
        "this gateway, WebTransport",
        "gateway",
        "worker",
        # the model for the end of a turn that Pipecat's pipeline asks, too
        lambda: ClusterTarget(ClusterPlan(agent="order", settings={"end_of_turn": "smart_turn"})),
        "voice-gateway",
        ("voice_gateway",),
    ),
    Implementation(
        "Pipecat, WebSocket",
        "pipecat",
        "server",
        _bot("ws://127.0.0.1:{port}/ws"),
        "pipecat-ai",
        ("pipecat", "fastapi", "uvicorn"),
    ),
    Implementation(
        "Pipecat, SmallWebRTC",
        "smallwebrtc",
        "server",
        _bot("http://127.0.0.1:{port}/api/offer"),
        "pipecat-ai",
        ("pipecat", "fastapi", "uvicorn", "aiortc"),
        most_at_once=2,
    ),
    Implementation(
        "Pipecat, MoQ",
        "moq",
        "server",
        _bot("http://127.0.0.1:{port}/start"),
        "pipecat-ai",
        ("pipecat", "fastapi", "uvicorn", "moq"),
        most_at_once=3,
    ),
    Implementation(
        "LiveKit room",
        "livekit",
        "server",
        lambda: LiveKitTarget(_LIVEKIT_BOT),
        "livekit-agents",
        ("livekit", "livekit.agents"),
        most_at_once=2,
        program=LIVEKIT_PROGRAM,
    ),
)

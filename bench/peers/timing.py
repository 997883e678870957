"""The traffic that all ways carry, and how its programs print what came of it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Final

FRAME_S: Final = 0.02
PAYLOAD_BYTES: Final = 52
SPEECH_FRAMES: Final = 400
"""8 s, which are made in 2 s."""
MADE_FASTER: Final = 4
SILENT_FOR_S: Final = 1.0
"""A caller of the peers that has had no echo for so long connects again; the gateway's own client decides by itself."""


@dataclass(slots=True)
class CallTimes:
    """What a caller saw: when it began and first had something back, frames it sent and received, by number.

    `sent` and `received` are lists of (number, time); `reconnects` counts new connections, ICE restarts or resumes;
    `error` is why the call ended early.
    """

    began: float = field(default_factory=time.monotonic)
    connected: float | None = None
    back: float | None = None
    sent: list[tuple[int, float]] = field(default_factory=list)
    received: list[tuple[int, float]] = field(default_factory=list)
    reconnects: int = 0
    sessions: int = 1
    error: str | None = None


def say(line: str) -> None:
    """Tell the benchmark of an event, at once."""
    print(line, flush=True)


def print_calls(calls: list[CallTimes]) -> None:
    """The last line of a caller."""
    say(json.dumps([asdict(call) for call in calls]))


async def stdin_ends() -> None:
    """Return once the benchmark closes this program's input."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def stdin_line() -> str:
    """The next line from the benchmark."""
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

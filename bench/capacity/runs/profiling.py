"""Where the main thread of a worker spends its time."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.capacity import layers
from bench.capacity.lab import Lab, opened
from bench.capacity.measure import Window, window
from bench.capacity.servers.server import Server


@dataclass(frozen=True, slots=True)
class Profile:
    """Samples of the main thread by layer, and an undisturbed window of the same sessions, by which they are scaled."""

    samples: Counter[str]
    window: Window


def profile(lab: Lab, server: Server, pattern: Path, sessions: int) -> Profile:
    """Measure a window, and then profile: py-spy stops the process for each sample."""
    with lab.serving(server) as pid, lab.calling(server, pattern) as generator:
        opened(server, generator.grow(sessions, lab.ramp_s))
        time.sleep(lab.settle_s)
        measured = window(generator, pid, lab.server_core, lab.window_s)
        return Profile(layers.sample(pid, lab.profile_s), measured)

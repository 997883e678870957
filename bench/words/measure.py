"""One voice's orders by each way over each link."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Final

import structlog

from bench.words.calls import telephone_call, voice_call
from bench.words.listener import Listener
from bench.words.orders import ORDERS, spoken
from bench.words.paths import LOSSES, in_plain_datagrams, opus_frames, telephone_frames
from bench.words.score import Score
from testbed.calls.agents import one_voice_detector
from testbed.calls.simulated_cluster import make_certificate

PATHS: Final = ("16 kHz, Opus", "telephone, mu-law")
WAYS: Final = ("without", "hybrid", "one stream")
Scores = dict[tuple[float, str], Score]
"""By loss and way."""


def measure(path: str, voice: str, repeats: int) -> Scores:
    """One voice's orders; each lossy condition is met `repeats` times with other losses."""
    scores: Scores = defaultdict(Score)
    with one_voice_detector(), structlog.testing.capture_logs(), tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder))
        listener = Listener()
        for number, text in enumerate(ORDERS):
            pcm = spoken(voice, text)
            frames = opus_frames(pcm) if path == PATHS[0] else telephone_frames(pcm)
            complete = None
            for loss in LOSSES:
                for seed in (1_000 * number + repeat for repeat in range(repeats if loss else 1)):
                    found = {"without": listener.hear(in_plain_datagrams(frames, loss, seed))}
                    if path == PATHS[0]:
                        for way, uplink in (("hybrid", "hybrid"), ("one stream", "reliable")):
                            found[way] = voice_call(listener, certificate, pcm, uplink, loss, seed)
                    else:
                        found["one stream"] = telephone_call(listener, frames, loss, seed)
                    complete = complete or found["without"]  # the first link loses nothing
                    for way, understood in found.items():
                        scores[loss, way].add(text, understood, complete)
    return dict(scores)

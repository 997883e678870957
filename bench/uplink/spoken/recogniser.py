"""Spoken orders through the order agent's recogniser, on all cores; what sounds the same is recognised once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import structlog

from bench.words.listener import Listener
from bench.words.score import Score
from testbed.calls.agents import one_voice_detector
from voice_gateway.agent.base import UserAudio

_CHUNK: Final = 4
_listener: Listener
"""Of a process of the pool, whose models are loaded once."""
_models = ExitStack()


@dataclass(frozen=True, slots=True)
class Sound:
    """An order, and what sound of it is left."""

    text: str
    audio: tuple[UserAudio, ...]


def scores(sounds: Iterable[Sound]) -> dict[Sound, Score]:
    """The score of each."""
    distinct = list(dict.fromkeys(sounds))
    with multiprocessing.get_context("spawn").Pool(initializer=_load) as pool:
        return dict(zip(distinct, pool.imap(_score, distinct, _CHUNK), strict=True))


def _load() -> None:
    global _listener
    _models.enter_context(one_voice_detector())
    _models.enter_context(structlog.testing.capture_logs())
    _listener = Listener()


def _score(sound: Sound) -> Score:
    score = Score()
    score.add(sound.text, _listener.hear(iter(sound.audio)))
    return score

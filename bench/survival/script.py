"""What callers say, and how many of their words arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from deploy.local.assertions import expected_order, named
from deploy.local.scenario import RECORDING, middle_of
from voice_client import VoiceClient
from voice_client.audio.source import PcmSource

_RATE_HZ = 16_000


class SurvivalError(Exception):
    """The benchmark cannot go on."""


class Script(Protocol):
    """One caller's part."""

    @property
    def agent(self) -> str:
        """Who listens."""

    @property
    def event_at_s(self) -> float:
        """When something happens: in the middle of what is said."""

    @property
    def codec(self) -> Literal["opus", "pcm16"]:
        """The caller's codec."""

    @property
    def heartbeat_s(self) -> float:
        """The caller's heartbeat."""

    async def perform(self, call: VoiceClient) -> None:
        """Say all of it."""

    def words_lost(self, state: Mapping[str, Any]) -> int:
        """How many words the agent's final state misses."""

    def is_in_order(self, state: Mapping[str, Any]) -> bool:
        """Whether the state holds all of them, once each, in the order in which they were said."""


class SpokenOrder:
    """A person's order in 27 words, by a recording; words are the seven things that it names of two drinks."""

    agent = "order"
    event_at_s = middle_of("first_sentence")
    codec: Literal["opus", "pcm16"] = "opus"
    heartbeat_s = 0.25

    async def perform(self, call: VoiceClient) -> None:
        await call.speak(RECORDING)

    def words_lost(self, state: Mapping[str, Any]) -> int:
        items = [*state.get("items", []), {}, {}]
        return sum(
            item.get(key) != value
            for item, wanted in zip(items, expected_order(), strict=False)
            for key, value in wanted.items()
        )

    def is_in_order(self, state: Mapping[str, Any]) -> bool:
        items, expected = state.get("items", []), expected_order()
        return len(items) == len(expected) and [named(*each) for each in zip(items, expected, strict=True)] == expected


@dataclass(frozen=True, slots=True)
class CountedWords:
    """Bursts of noise that the echo agent counts, each followed by a pause that ends the turn, then silence.

    These callers are cheap, so that many fit on one machine: what they send needs no encoding.
    """

    words: int
    every_s: float
    event_at_s: float
    agent: str = "echo"
    codec: Literal["opus", "pcm16"] = "pcm16"
    heartbeat_s: float = 0.5

    async def perform(self, call: VoiceClient) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number in range(self.words):
            await asyncio.sleep(began_s + number * self.every_s - loop.time())
            await call.speak(PcmSource(_WORD))

    def words_lost(self, state: Mapping[str, Any]) -> int:
        return max(0, self.words - int(state.get("utterances", 0)))

    def is_in_order(self, state: Mapping[str, Any]) -> bool:
        return state.get("utterances") == self.words


def _word() -> bytes:
    noise = np.random.default_rng(7).normal(0, 4000, int(0.4 * _RATE_HZ))
    return noise.clip(-32768, 32767).astype("<i2").tobytes() + bytes(int(0.8 * _RATE_HZ) * 2)


_WORD = _word()

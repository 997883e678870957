"""A call of noise whose every sample is known: an agent that says what it is asked for, and what a caller truly heard.

For recordings, which must hold both sides to the sample.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from voice_client import VoiceClient
from voice_gateway.agent.base import (
    Agent,
    Conversation,
    Emit,
    Finished,
    NoSpeechUpTo,
    Reply,
    ReplyAudio,
    ReplyEnded,
    StateChanged,
    StopReply,
    UserAudio,
    UserText,
)
from voice_gateway.recording.reading.assembly import Timeline
from voice_gateway.recording.reading.tracks import render

CALLER_HZ: Final = 16_000
AGENT_HZ: Final = 24_000
_FRAME_S: Final = 0.02
Samples = NDArray[np.int16]


def noise(seed: int, samples: int) -> Samples:
    """Return noise that is nowhere 0, so that it can be known from silence."""
    rng = np.random.default_rng(seed)
    signs = rng.choice(np.array([-1, 1], np.int16), samples)
    return np.asarray(rng.integers(1, 8_000, samples, np.int16) * signs, np.int16)


class NoiseAgent(Agent):
    """Says `MS` of noise for the typed text "say MS SEED", the same at each worker, and stops for any other text."""

    name = "noise"
    input_rate_hz = CALLER_HZ
    output_rate_hz = AGENT_HZ

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        return _NoiseConversation(emit)


class _NoiseConversation(Conversation):
    def hear(self, audio: UserAudio) -> None:
        self.emit(NoSpeechUpTo(audio.sequence))

    def text_received(self, text: UserText) -> None:
        self.emit(StateChanged(through_message=text.number))
        if text.text.startswith("say "):
            self.say_again(text.text)
        else:
            self.emit(StopReply())

    def say_again(self, text: str) -> None:
        self.emit(Reply(text))
        for length_ms, seed in re.findall(r"say (\d+) (\d+)", text):
            self.emit(ReplyAudio(noise(int(seed), int(length_ms) * AGENT_HZ // 1000).tobytes()))
        self.emit(ReplyEnded())

    def finish(self) -> None:
        self.emit(Finished())


@dataclass(slots=True)
class TrueCall:
    """What the caller said, and when what it heard left its loudspeaker. A `Source` and a sink of a `VoiceClient`.

    A microphone has a frame of 20 ms when its last sample was captured, and so the media clock is at the end of a frame
    when that is sent.
    """

    said: Samples
    is_live: bool = False
    played_at: list[tuple[float, Samples]] = field(default_factory=list)
    _began: float | None = None

    async def frames(self) -> AsyncIterator[bytes]:
        size = round(CALLER_HZ * _FRAME_S)
        self._began = asyncio.get_running_loop().time() - _FRAME_S
        for begin in range(0, len(self.said), size):
            yield self.said[begin : begin + size].tobytes()

    def play(self, at_s: float, pcm: bytes) -> None:
        self.played_at.append((at_s, np.frombuffer(pcm, np.int16)))

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        """Nothing is open."""

    def played(self) -> Samples:
        """Return the agent's true track, sample 0 where the caller's first one was captured."""
        assert self._began is not None
        placed = [(round((at_s - self._began) * AGENT_HZ), pcm) for at_s, pcm in self.played_at]
        track = np.zeros(max(at + len(pcm) for at, pcm in placed), np.int16)
        for at, pcm in placed:
            track[at : at + len(pcm)] = pcm
        return track


@dataclass(frozen=True, slots=True)
class Comparison:
    """A recording beside the truth: lengths in samples, and by how much the agent's samples lie elsewhere."""

    is_caller_exact: bool
    caller_samples: int
    is_agent_exact: bool
    agent_samples: int
    worst_offset_ms: float
    median_offset_ms: float


def compare(timeline: Timeline, true: TrueCall) -> Comparison:
    """Compare both tracks sample by sample; an agent's sample counts by its place among those that sound."""
    caller = render(timeline, CALLER_HZ).caller
    agent, played = render(timeline, AGENT_HZ).agent, true.played()
    begin = -timeline.origin * CALLER_HZ // 48_000
    recorded_at, true_at = np.flatnonzero(agent), np.flatnonzero(played)
    is_agent_exact = np.array_equal(agent[recorded_at], played[true_at])
    shortest = min(len(recorded_at), len(true_at))
    offsets = np.abs(recorded_at[:shortest] + timeline.origin * AGENT_HZ // 48_000 - true_at[:shortest])
    return Comparison(
        np.array_equal(caller[begin : begin + len(true.said)], true.said),
        len(caller) - begin,
        is_agent_exact,
        len(recorded_at),
        float(offsets.max(initial=0)) * 1000 / AGENT_HZ,
        float(np.median(offsets)) * 1000 / AGENT_HZ if shortest else 0.0,
    )


async def say_at(client: VoiceClient, at_s: float, text: str) -> None:
    """Type a text so long after now."""
    await asyncio.sleep(at_s)
    client.send_text(text)
